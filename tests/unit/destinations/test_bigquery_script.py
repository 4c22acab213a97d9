"""The script that publishes a load into BigQuery, as text."""

from __future__ import annotations

from bulk_export.destinations.bigquery_dialect import BigQueryDialect
from bulk_export.destinations.bigquery_script import publishing_script
from bulk_export.destinations.loads_table import loads_table
from bulk_export.destinations.tables import Counted, Statement

DIALECT = BigQueryDialect("acme", "npq", "5ffe")


def test_publishing_script() -> None:
    """The lock is updated first, and what is recorded are the script's own counts."""
    names = [column.name for column in loads_table(DIALECT).columns]
    statements = [Statement("DELETE 1", "things", Counted.DELETED), Statement("INSERT 2", "things", Counted.INSERTED)]
    values = ["things" if name == "table_name" else name for name in names]
    script = publishing_script(statements, [Statement("", parameters=tuple(values))], 7, DIALECT)
    counts = {"inserted": "changed_1", "updated": "0", "deleted": "changed_0"}
    places = ", ".join(counts.get(name, f"@{name}_0") for name in names)
    assert script.sql.splitlines() == [
        "DECLARE changed_0, changed_1 INT64;",
        "BEGIN TRANSACTION;",
        "UPDATE `acme`.`npq`.`_bulk_export_lock` SET loads = loads + 1 WHERE TRUE;",
        (
            "ASSERT (SELECT COUNT(*) FROM `acme`.`npq`.`_bulk_export_loads`) = @loads"
            " AS 'bulk-export: another load was faster';"
        ),
        "DELETE 1;",
        "SET changed_0 = @@row_count;",
        "INSERT 2;",
        "SET changed_1 = @@row_count;",
        (
            "INSERT INTO `acme`.`npq`.`_bulk_export_loads`"
            f" ({', '.join(f'`{name}`' for name in names)}) VALUES ({places});"
        ),
        "COMMIT TRANSACTION;",
        "SELECT changed_0, changed_1;",
    ]
    assert script.parameters["loads"] == 7
    assert set(script.parameters) == {"loads", *(f"{name}_0" for name in names if name not in counts)}
