"""The script that publishes a load into BigQuery: one job, so that a killed load leaves no transaction open. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.loads_table import NAME, loads_table
from bulk_export.destinations.tables import Counted, Statement

LOCK = "_bulk_export_lock"
# What the script says when another load has recorded something since this one looked.
OVERTAKEN = "bulk-export: another load was faster"


@dataclass(frozen=True, slots=True)
class Script:
    """Statements for one job.

    Attributes:
        sql: Their text. Its last query has the number of rows that each counted statement changed, in order.
        parameters: The values of its named parameters.
    """

    sql: str
    parameters: dict[str, object]


def publishing_script(
    statements: Sequence[Statement], records: Sequence[Statement], loads: int, dialect: Dialect
) -> Script:
    """Make the script of a transaction.

    It begins by updating the rows of the lock, since BigQuery cancels one of two transactions that update a table, but
    lets both insert; then it checks that the recorded loads are those that this load has seen.

    Args:
        statements: The statements whose changed rows are counted.
        records: The statements that record them, as `loads_table.insertion` writes them. Their counts are replaced by
            those of the script.
        loads: How many recorded loads there were.
        dialect: The destination's.

    Returns:
        The script.
    """
    variables = [f"changed_{number}" for number, _ in enumerate(statements)]
    target = dialect.table(NAME)
    lines = [
        *([f"DECLARE {', '.join(variables)} INT64"] if variables else []),
        "BEGIN TRANSACTION",
        f"UPDATE {dialect.table(LOCK)} SET loads = loads + 1 WHERE TRUE",
        f"ASSERT (SELECT COUNT(*) FROM {target}) = @loads AS {dialect.literal(OVERTAKEN)}",
    ]
    for variable, statement in zip(variables, statements, strict=True):
        lines += [statement.sql, f"SET {variable} = @@row_count"]
    parameters: dict[str, object] = {"loads": loads}
    names = [column.name for column in loads_table(dialect).columns]
    for number, record in enumerate(records):
        values = dict(zip(names, record.parameters, strict=True))
        counts = {
            counted.value: " + ".join(
                variable
                for variable, statement in zip(variables, statements, strict=True)
                if (statement.table, statement.counted) == (values["table_name"], counted)
            )
            or "0"
            for counted in Counted
        }
        parameters |= {f"{name}_{number}": value for name, value in values.items() if name not in counts}
        places = ", ".join(counts.get(name) or f"@{name}_{number}" for name in names)
        lines.append(f"INSERT INTO {target} ({', '.join(map(dialect.quote, names))}) VALUES ({places})")
    lines += ["COMMIT TRANSACTION", f"SELECT {', '.join(variables) or '0'}"]
    return Script("".join(f"{line};\n" for line in lines), parameters)
