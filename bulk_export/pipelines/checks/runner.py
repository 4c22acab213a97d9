"""Runs the checks with DuckDB, by the same SQL that can be printed and run by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.output.duckdb_sql import connect, failures, read_parquet
from bulk_export.output.formats.reading import first_unreadable
from bulk_export.output.object_store.reading import local_export
from bulk_export.output.object_store.url import StoreUrl
from bulk_export.pipelines.checks.queries import CHECKS, TABLES, UNCLEAR_CHANGES, Check
from bulk_export.pipelines.checks.tables import EXTRA, CheckedTables, CopyTableFiles, find_tables
from bulk_export.pipelines.checks.views import create_views

if TYPE_CHECKING:
    import duckdb

MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    Attributes:
        check: The check.
        found: The number of all rows.
        columns: The names of the columns.
        rows: The first MOST_ROWS rows; times are texts in UTC.
        remarks: What limits the result.
        unanswered: Why the check could not be run on this copy; None if it was.
    """

    check: Check
    found: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    remarks: tuple[str, ...] = ()
    unanswered: str | None = None


def run_checks_at(url: StoreUrl) -> list[CheckResult]:
    """Run every check on a finished export in an object store, whose files of these tables are copied meanwhile.

    Raises:
        BulkExportError: As for `run_checks`, or the store rejects or fails; messages name the address.
    """
    with local_export(url, frozenset(TABLES.values())) as directory:
        try:
            return run_checks(directory)
        except BulkExportError as error:
            error.what = error.what.replace(str(directory), str(url))
            raise


def run_checks(directory: Path) -> list[CheckResult]:
    """Run every check on a finished export or a copy.

    Raises:
        DamagedState: A table cannot be read.
        LocalFailure: The directory cannot be read.
        UsageError: There are no tables that these checks can use.
    """
    tables = find_tables(directory)
    with _CheckSession(tables) as session:
        results = [session.run(check) for check in CHECKS]
    if all(result.unanswered for result in results):
        reasons = " ".join(dict.fromkeys(result.unanswered or "" for result in results))
        raise UsageError(
            f"{directory} has no tables that these checks can use. {reasons}",
            next_step="Export or sync these endpoints too.",
        )
    return results


def sql_script(directory: Path, check: Check) -> str:
    """Return SQL for DuckDB that runs a check on this copy.

    Raises:
        DamagedState: A table cannot be read.
        LocalFailure: The directory cannot be read.
        UsageError: The check cannot be run on this copy.
    """
    tables = find_tables(directory)
    with _CheckSession(tables) as session:
        reason = session.reason_against(check)
        if reason is not None:
            raise UsageError(
                f"The check {check.name} cannot be run on {directory}. {reason}",
                next_step="Without a name, check answers the others.",
            )
        return "\n".join([*session.views(check), "", f"{check.sql};"])


class _CheckSession:
    """A database in memory that may read files but installs nothing and spills nothing to disk."""

    def __init__(self, tables: CheckedTables) -> None:
        self._tables = tables
        self._connection = connect(EXTRA)
        self._error = failures()

    def __enter__(self) -> _CheckSession:
        self._columns = {name: self._columns_of(table) for name, table in self._tables.tables.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def reason_against(self, check: Check) -> str | None:
        """Why a check cannot be run on this copy; None if it can."""
        for name, columns in check.needs.items():
            if name not in self._columns:
                return f"There is no table {TABLES[name]}."
            lacking = [column for column in columns if column not in self._columns[name]]
            if lacking:
                return f"{TABLES[name]} has no column {', '.join(lacking)}."
        if check.needs_history and self._tables.tables["applications"].history is None:
            return "An export holds no history; a copy that sync keeps does."
        return None

    def views(self, check: Check) -> Iterator[str]:
        """The statements that create the views of a check."""
        return create_views(check, self._tables.tables, self._columns)

    def run(self, check: Check) -> CheckResult:
        """Run a check if this copy has what it needs."""
        reason = self.reason_against(check)
        if reason is not None:
            return CheckResult(check, 0, (), (), unanswered=reason)
        try:
            for view in self.views(check):
                self._connection.execute(view)
            row = self._connection.execute(f"SELECT count(*) FROM ({check.sql})").fetchone()  # noqa: S608  # our own
            result = self._connection.execute(f"{_with_text_times(self._connection, check.sql)} LIMIT {MOST_ROWS}")
            columns = tuple(column[0] for column in result.description or ())
            rows = tuple(map(tuple, result.fetchall()))
        except self._error as error:
            raise self._unreadable(error) from None
        return CheckResult(check, row[0] if row else 0, columns, rows, tuple(self._remarks(check)))

    def _remarks(self, check: Check) -> Iterator[str]:
        yield from self._tables.remarks
        if not check.needs_history:
            return
        history = self._tables.tables["applications"].history
        if history is not None and history.is_truncated:
            since = "its newest version" if history.complete_since is None else _instant(history.complete_since)
            yield f"The history of the copy before {since} was cleaned away; changes before that are not seen."
        if history is not None and history.versions == 1:
            yield "The copy has one version yet; changes are seen from the next poll on."
        unclear = self._connection.execute(f"SELECT count(*) FROM ({UNCLEAR_CHANGES.sql})").fetchone()  # noqa: S608
        if unclear and unclear[0]:
            yield (
                f"{unclear[0]:,} more changes were first seen by the poll after a declaration, under an updated_at"
                " before it: whether they came after it cannot be told. --sql unclear prints how to see them."
            )

    def _columns_of(self, table: CopyTableFiles) -> frozenset[str]:
        if not table.files:
            return frozenset(table.columns)
        try:
            rows = self._connection.execute(f"DESCRIBE SELECT * FROM {read_parquet(table.files)}").fetchall()  # noqa: S608
        except self._error as error:
            raise self._unreadable(error) from None
        return frozenset(row[0] for row in rows)

    def _unreadable(self, error: Exception) -> DamagedState:
        """The error for tables that DuckDB cannot read, without its own text, which may quote values."""
        file = first_unreadable(file for table in self._tables.tables.values() for file in table.files)
        if file is not None:
            return DamagedState(
                f"{file} cannot be read.",
                kept="Nothing was changed.",
                next_step="Restore it from a backup. In a copy that sync keeps, its directory may be removed instead:"
                " the next sync fetches all of it.",
            )
        return DamagedState(
            f"The tables cannot be read ({type(error).__name__}).",
            kept="Nothing was changed.",
            next_step="A synced copy may have changed meanwhile: try again.",
        )


def _with_text_times(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SELECT with times as texts in UTC, for which DuckDB needs no library for time zones."""
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    columns = (
        f"strftime({name}, '%Y-%m-%dT%H:%M:%SZ') AS {name}" if type_ == "TIMESTAMP WITH TIME ZONE" else name
        for name, type_, *_ in described
    )
    return f"SELECT {', '.join(columns)} FROM ({sql})"  # noqa: S608  # our own


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
