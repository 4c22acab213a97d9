"""Answers the questions with DuckDB, by the very SQL that can be printed and run by hand."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.duckdb_sql import connect, failures, read_parquet
from bulk_export.output.duckdb_sql import name as quoted_name
from bulk_export.pipelines.checks.queries import QUESTIONS, TABLES, UNCLEAR_CHANGES, Question
from bulk_export.pipelines.checks.tables import EXTRA, Copy, CopyTableFiles, open_copy
from bulk_export.transform.schema import EXTRA as EXTRA_COLUMN
from bulk_export.transform.schema import REMOVED_AT, SYNCED_AT

if TYPE_CHECKING:
    import duckdb

MOST_ROWS = 10_000
# Each state of an application whose decision differs from that of the state before it.
_CHANGES = """CREATE OR REPLACE TEMP VIEW applications_changes AS
SELECT * FROM (
    SELECT *, lag(decision) OVER earlier AS decision_before, row_number() OVER earlier AS number
    FROM applications_history
    WINDOW earlier AS (PARTITION BY id ORDER BY seen_at, version)
) WHERE number > 1 AND decision IS DISTINCT FROM decision_before;"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How many rows were found, and the first MOST_ROWS of them; `unanswered` says why where it could not be told."""

    question: Question
    found: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    remarks: tuple[str, ...] = ()
    unanswered: str | None = None


def check(directory: Path) -> list[CheckResult]:
    """Answer every question from a copy. Raises UsageError where none can be, DamagedState, LocalFailure."""
    copy = open_copy(directory)
    with _Session(copy) as session:
        answers = [session.answer(question) for question in QUESTIONS]
    if all(answer.unanswered for answer in answers):
        reasons = " ".join(dict.fromkeys(answer.unanswered or "" for answer in answers))
        raise UsageError(f"{directory} answers no question. {reasons}", next_step="Export or sync these endpoints too.")
    return answers


def script(directory: Path, question: Question) -> str:
    """SQL for DuckDB that answers one question from this copy. Raises UsageError where it cannot be answered."""
    copy = open_copy(directory)
    with _Session(copy) as session:
        reason = session.reason_against(question)
        if reason is not None:
            raise UsageError(f"{directory} does not answer {question.name}. {reason}")
        return "\n".join([*session.views(question), "", f"{question.sql};"])


class _Session:
    """A database in memory that may read files but installs nothing and spills nothing to disk."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    def __enter__(self) -> _Session:
        self._connection = connect(EXTRA)
        self._error = failures()
        self._columns = {name: self._columns_of(table) for name, table in self._copy.tables.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def reason_against(self, question: Question) -> str | None:
        """Why a question cannot be answered from this copy."""
        for name, columns in question.needs.items():
            if name not in self._columns:
                return f"There is no table {TABLES[name]}."
            lacking = [column for column in columns if column not in self._columns[name]]
            if lacking:
                return f"{TABLES[name]} has no column {', '.join(lacking)}."
        if question.history and self._copy.tables["applications"].history is None:
            return "An export holds no history; a copy that sync keeps does."
        return None

    def views(self, question: Question) -> Iterator[str]:
        """The statements that give the tables their names."""
        for name in question.needs:
            table = self._copy.tables[name]
            columns = self._columns[name]
            condition = f" WHERE {REMOVED_AT} IS NULL" if REMOVED_AT in columns else ""
            decision = f", {_decision(columns)} AS decision" if "funded_place" in columns else ""
            rows = f"SELECT *{decision} FROM {_rows(table)}{condition}"  # noqa: S608  # quoted paths
            yield f"CREATE OR REPLACE TEMP VIEW {name} AS {rows};"
        if question.history:
            yield _history(self._copy.tables["applications"], self._columns["applications"])
            yield _CHANGES

    def answer(self, question: Question) -> CheckResult:
        """Every row that was found, up to MOST_ROWS."""
        reason = self.reason_against(question)
        if reason is not None:
            return CheckResult(question, 0, (), (), unanswered=reason)
        try:
            for view in self.views(question):
                self._connection.execute(view)
            found = self._connection.execute(f"SELECT count(*) FROM ({question.sql})").fetchone()  # noqa: S608  # our own
            result = self._connection.execute(f"{_as_text(self._connection, question.sql)} LIMIT {MOST_ROWS}")
            columns = tuple(column[0] for column in result.description or ())
            rows = tuple(map(tuple, result.fetchall()))
        except self._error as error:
            raise _unreadable(error) from None
        return CheckResult(question, found[0] if found else 0, columns, rows, tuple(self._remarks(question)))

    def _remarks(self, question: Question) -> Iterator[str]:
        yield from self._copy.remarks
        if question.history:
            history = self._copy.tables["applications"].history
            if history is not None and history.is_cut:
                since = "its newest version" if history.complete_since is None else _instant(history.complete_since)
                yield f"The history of the copy before {since} was cleaned away; changes before that are not seen."
            if history is not None and history.versions == 1:
                yield "The copy has one version yet; changes are seen from the next poll on."
            unclear = self._connection.execute(f"SELECT count(*) FROM ({UNCLEAR_CHANGES.sql})").fetchone()  # noqa: S608  # our own
            if unclear and unclear[0]:
                yield (
                    f"{unclear[0]:,} more changes were first seen by the poll after a declaration, under an updated_at"
                    " before it: whether they came after it cannot be told. --sql unclear prints how to see them."
                )

    def _columns_of(self, table: CopyTableFiles) -> frozenset[str]:
        if not table.files:
            return frozenset(table.columns)
        try:
            rows = self._connection.execute(f"DESCRIBE SELECT * FROM {read_parquet(table.files)}").fetchall()  # noqa: S608  # quoted paths
        except self._error as error:
            raise _unreadable(error) from None
        return frozenset(row[0] for row in rows)


def _rows(table: CopyTableFiles) -> str:
    """The SQL for the current rows of a table, which may have none and then no file either."""
    if table.files:
        return read_parquet(table.files)
    columns = ", ".join(f"NULL::{kind} AS {quoted_name(column)}" for column, kind in table.columns.items())
    return f"(SELECT {columns} WHERE false)"


def _decision(columns: Collection[str]) -> str:
    """The SQL for what is decided about the funded place, as text: a value that is no boolean stands in `_extra`."""
    if EXTRA_COLUMN not in columns:
        return "CAST(funded_place AS VARCHAR)"
    kept = f"CASE WHEN json_valid({EXTRA_COLUMN}) THEN json_extract_string({EXTRA_COLUMN}, '$.funded_place') END"
    return (
        f"coalesce(CAST(funded_place AS VARCHAR), CASE lower({kept}) WHEN 'yes' THEN 'true' WHEN 'no' THEN 'false'"
        f" ELSE lower({kept}) END)"
    )


def _history(table: CopyTableFiles, columns: Collection[str]) -> str:
    """Each state of an application once, with when it was first seen and when the one before it was last seen.

    The poll that first saw it started at `seen_at`, and ended at `seen_until`: it may have been made in between.
    A row carries the start of the poll that wrote it (`_synced_at`), in whichever file it is read. Where a table has
    no such column, its shown `updated_at` and the order of the versions have to do.
    """
    files = table.history.files if table.history is not None else ()
    by_version: dict[int, list[Path]] = {}
    for file, number in files:
        by_version.setdefault(number, []).append(file)
    synced = SYNCED_AT in columns
    moment = SYNCED_AT if synced else "updated_at"
    shown = f"id, funded_place, {_decision(columns)} AS decision, updated_at, {moment} AS seen_at"
    if not files:
        states = f"SELECT {shown}, 0 AS version FROM {_rows(table)}"  # noqa: S608  # quoted paths
    elif synced:
        states = f"SELECT {shown}, 0 AS version FROM {read_parquet([file for file, _ in files])}"  # noqa: S608  # quoted paths
    else:
        states = "\n    UNION ALL ".join(
            f"SELECT {shown}, {number} AS version FROM {read_parquet(of)}"  # noqa: S608  # quoted paths
            for number, of in sorted(by_version.items())
        )
    grouped = (
        "SELECT id, any_value(funded_place) AS funded_place, decision, updated_at, seen_at, min(version) AS version\n"
        f"FROM (\n    {states}\n) GROUP BY id, decision, updated_at, seen_at"
    )
    before = "lag(seen_at) OVER (PARTITION BY id ORDER BY seen_at, version)"
    if synced and table.polls:
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
    return (
        "CREATE OR REPLACE TEMP VIEW applications_history AS\n"
        f"SELECT *, {before} AS last_seen_before, seen_at AS seen_until FROM ({grouped});"
    )


def _as_text(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SELECT with instants as text in UTC, which need no library for time zones to be fetched."""
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    chosen = (
        f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" if kind == "TIMESTAMP WITH TIME ZONE" else name
        for name, kind, *_ in described
    )
    return f"SELECT {', '.join(chosen)} FROM ({sql})"  # noqa: S608  # our own


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _unreadable(error: Exception) -> DamagedState:
    """Without DuckDB's own text, which may quote values."""
    return DamagedState(
        f"The tables cannot be read ({type(error).__name__}).",
        kept="Nothing was changed.",
        next_step="bulk-export verify says more of an export; a synced copy may have changed meanwhile: try again.",
    )
