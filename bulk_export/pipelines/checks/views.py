"""The SQL that gives the tables of a copy the names and columns that the checks use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from bulk_export.output.duckdb_sql import name as quoted
from bulk_export.output.duckdb_sql import read_parquet
from bulk_export.pipelines.checks.queries import Check
from bulk_export.pipelines.checks.tables import CopyTableFiles
from bulk_export.transform.schema import EXTRA, REMOVED_AT, SYNCED_AT

# Each state of an application whose decision differs from that of the state before it.
_CHANGES = """CREATE OR REPLACE TEMP VIEW applications_changes AS
SELECT * FROM (
    SELECT *, lag(decision) OVER earlier AS decision_before, row_number() OVER earlier AS number
    FROM applications_history
    WINDOW earlier AS (PARTITION BY id ORDER BY seen_at, version)
) WHERE number > 1 AND decision IS DISTINCT FROM decision_before;"""


def create_views(
    check: Check, tables: Mapping[str, CopyTableFiles], columns: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """Yield the statements that create the views of a check; `columns` are those of each table.

    Rows that were marked as removed are left out. Applications get a column `decision`.
    """
    for name in check.needs:
        condition = f" WHERE {REMOVED_AT} IS NULL" if REMOVED_AT in columns[name] else ""
        decision = f", {_decision(columns[name])} AS decision" if "funded_place" in columns[name] else ""
        rows = f"SELECT *{decision} FROM {rows_of(tables[name])}{condition}"  # noqa: S608  # quoted paths
        yield f"CREATE OR REPLACE TEMP VIEW {name} AS {rows};"
    if check.needs_history:
        yield _history(tables["applications"], columns["applications"])
        yield _CHANGES


def rows_of(table: CopyTableFiles) -> str:
    """The SQL for the current rows of a table. A table without rows may have no file."""
    if table.files:
        return read_parquet(table.files)
    columns = ", ".join(f"NULL::{type_} AS {quoted(column)}" for column, type_ in table.columns.items())
    return f"(SELECT {columns} WHERE false)"


def _decision(columns: Collection[str]) -> str:
    """The SQL for the decision on the funded place, as text: a value that is no boolean stands in `_extra`."""
    if EXTRA not in columns:
        return "CAST(funded_place AS VARCHAR)"
    kept = f"CASE WHEN json_valid({EXTRA}) THEN json_extract_string({EXTRA}, '$.funded_place') END"
    return (
        f"coalesce(CAST(funded_place AS VARCHAR), CASE lower({kept}) WHEN 'yes' THEN 'true' WHEN 'no' THEN 'false'"
        f" ELSE lower({kept}) END)"
    )


def _history(table: CopyTableFiles, columns: Collection[str]) -> str:
    """The view of each state of an application once, with the times between which it came about.

    `seen_at` is the start of the poll that saw it first, `seen_until` the end of that poll, since the change may have
    been made while it ran. `last_seen_before` is the start of the last poll that saw the state before it.

    1. A row has the start of the poll that wrote it (`_synced_at`), in whichever file it is read.
    2. A table without that column, made by something else, has `updated_at` and the order of its versions instead.
    """
    files = table.history.files if table.history is not None else ()
    is_synced = SYNCED_AT in columns
    seen_at = SYNCED_AT if is_synced else "updated_at"
    shown = f"id, funded_place, {_decision(columns)} AS decision, updated_at, {seen_at} AS seen_at"
    if not files:
        states = f"SELECT {shown}, 0 AS version FROM {rows_of(table)}"  # noqa: S608  # quoted paths
    elif is_synced:
        states = f"SELECT {shown}, 0 AS version FROM {read_parquet([file for file, _ in files])}"  # noqa: S608
    else:
        by_version: dict[int, list[Path]] = {}
        for file, version in files:
            by_version.setdefault(version, []).append(file)
        states = "\n    UNION ALL ".join(
            f"SELECT {shown}, {version} AS version FROM {read_parquet(added)}"  # noqa: S608  # quoted paths
            for version, added in sorted(by_version.items())
        )
    grouped = (
        "SELECT id, any_value(funded_place) AS funded_place, decision, updated_at, seen_at, min(version) AS version\n"
        f"FROM (\n    {states}\n) GROUP BY id, decision, updated_at, seen_at"
    )
    if is_synced and table.polls:
        polls = ", ".join(
            f"(TIMESTAMPTZ '{start.isoformat()}', TIMESTAMPTZ '{end.isoformat()}')" for start, end in table.polls
        )
        return (
            "CREATE OR REPLACE TEMP VIEW applications_history AS\n"
            f"WITH polls(started_at, finished_at) AS (VALUES {polls})\n"
            "SELECT states.*, before.started_at AS last_seen_before,"
            " coalesce(own.finished_at, states.seen_at) AS seen_until\n"
            f"FROM ({grouped}) AS states\n"
            "ASOF LEFT JOIN polls AS before ON states.seen_at > before.started_at\n"
            "LEFT JOIN polls AS own ON states.seen_at = own.started_at;"
        )
    before = "lag(seen_at) OVER (PARTITION BY id ORDER BY seen_at, version)"
    return (
        "CREATE OR REPLACE TEMP VIEW applications_history AS\n"
        f"SELECT *, {before} AS last_seen_before, seen_at AS seen_until FROM ({grouped});"
    )
