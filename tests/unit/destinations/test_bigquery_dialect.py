"""The SQL and the job configurations of a load into BigQuery, as text."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.destinations.bigquery_dialect import (
    UNFINISHED,
    BigQueryDialect,
    is_description,
    load_configuration,
    query_configuration,
)
from bulk_export.destinations.bigquery_script import publishing_script
from bulk_export.destinations.loads_table import loads_table, query
from bulk_export.destinations.statements import Removal, Staged, create_table, merge_rows
from bulk_export.destinations.table_plan import plan_tables
from bulk_export.destinations.tables import LoadSettings, Mode, Statement, Table
from tests.support.finished_exports import EXTRA, ID, INSTANT

DIALECT = BigQueryDialect("acme", "npq", "5ffe")
FIELDS = (
    pa.field("lead", pa.bool_()),
    pa.field("size", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("at", INSTANT),
    pa.field("day", pa.date32()),
    pa.field("parts", pa.list_(pa.string())),
)


def planned(*fields: pa.Field, dialect: BigQueryDialect = DIALECT, endpoint: str = "things") -> Table:
    settings = LoadSettings(Mode.REPLACE)
    return plan_tables({endpoint: pa.schema([ID, *fields, EXTRA])}, settings, dialect)[endpoint][0]


def merged(table: Table, dialect: BigQueryDialect) -> list[str]:
    return [s.sql for s in merge_rows(table, Staged("_bulk_export_staged_1"), Removal.OTHERS, dialect)]


def test_create_table() -> None:
    """What is nested is a text, columns say where they come from, and the key is not enforced."""
    assert create_table(planned(FIELDS[1], FIELDS[5]), DIALECT) == (
        "CREATE TABLE IF NOT EXISTS `acme`.`npq`.`things`"
        " (`id` STRING NOT NULL OPTIONS (description = 'id: string'),"
        " `size` INT64 OPTIONS (description = 'size: int64'),"
        " `parts` STRING OPTIONS (description = 'parts: JSON'),"
        " `_extra` STRING OPTIONS (description = '_extra: JSON'),"
        " PRIMARY KEY (`id`) NOT ENFORCED)"
        f" OPTIONS (description = '{UNFINISHED}')"
    )


def test_create_staging() -> None:
    """Each type has its own; BigQuery removes the table after a day."""
    assert DIALECT.create_staging("_bulk_export_staged_1", planned(*FIELDS).columns) == (
        "CREATE TABLE `acme`.`npq`.`_bulk_export_staged_1_5ffe` (`id` STRING NOT NULL, `lead` BOOL, `size` INT64,"
        " `share` FLOAT64, `at` TIMESTAMP, `day` DATE, `parts` STRING, `_extra` STRING)"
        " OPTIONS (expiration_timestamp = TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY))"
    )


def test_merge_rows() -> None:
    """Rows that go, change and come."""
    target, staging = "`acme`.`npq`.`things`", "`acme`.`npq`.`_bulk_export_staged_1_5ffe`"
    assert merged(planned(FIELDS[1]), DIALECT) == [
        f"DELETE FROM {target} AS t WHERE NOT EXISTS (SELECT 1 FROM {staging} AS s WHERE t.`id` = s.`id`)",
        (
            f"UPDATE {target} AS t SET `size` = s.`size`, `_extra` = s.`_extra` FROM {staging} AS s"
            " WHERE t.`id` = s.`id` AND (t.`size` IS DISTINCT FROM s.`size` OR t.`_extra` IS DISTINCT FROM s.`_extra`)"
        ),
        (
            f"INSERT INTO {target} (`id`, `size`, `_extra`) SELECT s.`id`, s.`size`, s.`_extra` FROM {staging} AS s"
            f" WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE t.`id` = s.`id`)"
        ),
    ]


@pytest.mark.integration
def test_grammar() -> None:
    """A parser of BigQuery's SQL takes all statements."""
    sqlglot = pytest.importorskip("sqlglot")
    table = planned(*FIELDS)
    record = Statement("", parameters=("",) * len(loads_table(DIALECT).columns))
    texts = [
        create_table(table, DIALECT),
        DIALECT.create_staging("_bulk_export_staged_1", table.columns),
        DIALECT.add_column("things", table.columns[1]),
        DIALECT.alter_type("things", table.columns[1]),
        *(statement.sql for statement in DIALECT.comments(table, "things of npq")),
        *merged(table, DIALECT),
        query(DIALECT),
        *publishing_script([], [record], 0, DIALECT).sql.split(";\n")[:-1],
    ]
    for text in texts:
        (parsed,) = sqlglot.parse(text, read="bigquery")
        assert type(parsed).__name__ != "Command", text


def test_load_configuration() -> None:
    """A load job appends to a table that is there, with the types of its columns."""
    assert load_configuration(planned(FIELDS[3]).columns, DIALECT) == {
        "load": {
            "sourceFormat": "PARQUET",
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": "WRITE_APPEND",
            "schema": {
                "fields": [
                    {"name": "id", "type": "STRING", "mode": "REQUIRED"},
                    {"name": "at", "type": "TIMESTAMP", "mode": "NULLABLE"},
                    {"name": "_extra", "type": "STRING", "mode": "NULLABLE"},
                ]
            },
        },
        "jobTimeoutMs": "21600000",
    }


def test_query_configuration() -> None:
    """Parameters have names and types."""
    assert query_configuration({}) == {"query": {"useLegacySql": False}, "jobTimeoutMs": "21600000"}
    assert query_configuration({"rows": 3})["query"]["queryParameters"] == [
        {"name": "rows", "parameterType": {"type": "INT64"}, "parameterValue": {"value": "3"}}
    ]


letters = st.sampled_from("ab\"'\\`;-?%@éß\n\u2028 ") | st.characters(
    exclude_characters="\0", exclude_categories=["Cs"]
)
names = st.text(letters, min_size=1, max_size=70)


@given(dataset=names, endpoint=names, column=names)
def test_hostile_names(dataset: str, endpoint: str, column: str) -> None:
    """With names and literals taken out, each statement is the one for harmless names."""
    hostile = BigQueryDialect("acme", dataset, "5ffe")
    table = planned(pa.field(f"x{column}", pa.int64()), dialect=hostile, endpoint=endpoint)

    def statements(of: Table, dialect: BigQueryDialect) -> list[str]:
        described = [statement.sql for statement in dialect.comments(of, endpoint)]
        assert all(map(is_description, described))
        added = dialect.add_column(of.name, of.columns[1])
        assert not is_description(added)
        staging = dialect.create_staging("_bulk_export_staged_1", of.columns)
        texts = [create_table(of, dialect), staging, added, *merged(of, dialect), *described]
        return [re.sub(r"'(?:[^'\\\n]|\\.)*'|`(?:[^`\\\n]|\\.)*`", "_", text) for text in texts]

    assert statements(table, hostile) == statements(planned(pa.field("y", pa.int64())), DIALECT)
