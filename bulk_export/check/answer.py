"""Answers the questions with DuckDB, by the very SQL that can be printed and run by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulk_export.check.copy import EXTRA, CopiedTable, Copy, open_copy
from bulk_export.check.question import QUESTIONS, TABLES, Question
from bulk_export.database import connect, failures, read_parquet
from bulk_export.errors import DamagedState, UsageError
from bulk_export.schema import REMOVED_AT

if TYPE_CHECKING:
    import duckdb

MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """How many rows were found, and the first MOST_ROWS of them; `unanswered` says why where it could not be told."""

    question: Question
    found: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    remarks: tuple[str, ...] = ()
    unanswered: str | None = None


def check(directory: Path) -> list[Answer]:
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
        if question.history and not self._copy.tables["applications"].versions:
            return "An export holds no history; a copy that sync keeps does."
        return None

    def views(self, question: Question) -> Iterator[str]:
        """The statements that give the tables their names."""
        for name in question.needs:
            table = self._copy.tables[name]
            condition = f" WHERE {REMOVED_AT} IS NULL" if REMOVED_AT in self._columns[name] else ""
            yield f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {read_parquet(table.files)}{condition};"  # noqa: S608  # quoted paths
        if question.history:
            yield _history(self._copy.tables["applications"])

    def answer(self, question: Question) -> Answer:
        """Every row that was found, up to MOST_ROWS."""
        reason = self.reason_against(question)
        if reason is not None:
            return Answer(question, 0, (), (), unanswered=reason)
        try:
            for view in self.views(question):
                self._connection.execute(view)
            found = self._connection.execute(f"SELECT count(*) FROM ({question.sql})").fetchone()  # noqa: S608  # our own
            result = self._connection.execute(f"{_as_text(self._connection, question.sql)} LIMIT {MOST_ROWS}")
            columns = tuple(column[0] for column in result.description or ())
            rows = tuple(map(tuple, result.fetchall()))
        except self._error as error:
            raise _unreadable(error) from None
        return Answer(question, found[0] if found else 0, columns, rows, tuple(self._remarks(question)))

    def _remarks(self, question: Question) -> Iterator[str]:
        yield from self._copy.remarks
        if question.history:
            table = self._copy.tables["applications"]
            first = table.versions[0].number
            if first or table.gone:
                yield "The earliest history of the copy was cleaned away; changes in it are not seen."
            if len(table.versions) == 1:
                yield "The copy has one version yet; changes are seen from the next poll on."

    def _columns_of(self, table: CopiedTable) -> frozenset[str]:
        if not table.files:
            return frozenset()
        try:
            rows = self._connection.execute(f"DESCRIBE SELECT * FROM {read_parquet(table.files)}").fetchall()  # noqa: S608  # quoted paths
        except self._error as error:
            raise _unreadable(error) from None
        return frozenset(row[0] for row in rows)


def _history(table: CopiedTable) -> str:
    """Each state of an application once, with the first version it was in: files hold states, versions hold files."""
    first: dict[Path, int] = {}
    for version in table.versions:
        for file in version.files:
            first.setdefault(file, version.number)
    by_version: dict[int, list[Path]] = {}
    for file, number in first.items():
        by_version.setdefault(number, []).append(file)
    columns = "id, funded_place, updated_at"
    states = "\n    UNION ALL ".join(
        f"SELECT {columns}, {number} AS version FROM {read_parquet(tuple(files))}"  # noqa: S608  # quoted paths
        for number, files in sorted(by_version.items())
    )
    return (
        "CREATE OR REPLACE TEMP VIEW applications_history AS\n"
        f"SELECT {columns}, min(version) AS first_version FROM (\n    {states}\n) GROUP BY {columns};"
    )


def _as_text(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SELECT with instants as text in UTC, which need no library for time zones to be fetched."""
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    chosen = (
        f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" if kind == "TIMESTAMP WITH TIME ZONE" else name
        for name, kind, *_ in described
    )
    return f"SELECT {', '.join(chosen)} FROM ({sql})"  # noqa: S608  # our own


def _unreadable(error: Exception) -> DamagedState:
    """Without DuckDB's own text, which may quote values."""
    return DamagedState(
        f"The tables cannot be read ({type(error).__name__}).",
        kept="Nothing was changed.",
        next_step="bulk-export verify says more of an export; a synced copy may have changed meanwhile: try again.",
    )
