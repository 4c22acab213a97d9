"""A SQLite file: `sqlite:///path/of/file.sqlite`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from bulk_export.core.compat.opening import open_file
from bulk_export.destinations.address import Address
from bulk_export.destinations.destination import Conclusion
from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.tables import Column, ExistingColumn, ExistingTable, RecordedLoad, Statement
from bulk_export.errors import LocalFailure, UsageError

_LONGEST_IDENTIFIER = 1024
_SECONDS_TO_WAIT = 30.0
_FIRST_BYTES = b"SQLite format 3\0"


class SqliteDialect(Dialect):
    """SQLite's SQL: instants and dates are ISO 8601 texts, booleans 0 and 1, lists and objects JSON."""

    name = "SQLite"
    longest_identifier = _LONGEST_IDENTIFIER
    json_type = "TEXT"
    holds_nul = True
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "TEXT",
        pa.bool_(): "INTEGER",
        pa.int64(): "INTEGER",
        pa.float64(): "REAL",
        TIMESTAMP: "TEXT",
        pa.date32(): "TEXT",
    }

    def table(self, name: str) -> str:
        """A table of the file."""
        return f"main.{self.quote(name)}"

    def staging_table(self, name: str) -> str:
        """A temporary table."""
        return f"temp.{self.quote(name)}"

    def differs(self, column: Column, left: str, right: str) -> str:
        """SQLite's spelling of IS DISTINCT FROM, which earlier versions do not know."""
        del column
        return f"{left} IS NOT {right}"

    def alter_type(self, table: str, column: Column) -> str:
        """SQLite cannot change the type of a column, so the table would have to be made again."""
        del column
        return f"DROP TABLE {self.table(table)}"


class SqliteDestination:
    """A connection to a SQLite file, to which one connection at a time can write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.dialect: Dialect = SqliteDialect()
        self._connection = connection

    def begin(self) -> None:
        """Lock the file for writing, and begin the transaction. Others go on reading."""
        self._connection.execute("PRAGMA temp_store = FILE")
        self._connection.execute("BEGIN IMMEDIATE")

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first."""
        if self.existing_table(NAME) is None:
            return []
        return [recorded_load(row) for row in self._connection.execute(query(self.dialect))]

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        rows = self._connection.execute(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?, 'main') ORDER BY cid", [name]
        ).fetchall()
        if not rows:
            return None
        columns = tuple(ExistingColumn(column, type_, not required) for column, type_, required, _ in rows)
        key = sorted((position, column) for column, _, _, position in rows if position)
        return ExistingTable(name, columns, tuple(column for _, column in key))

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Fill a temporary table."""
        defined = ", ".join(f"{self.dialect.quote(c.name)} {self.dialect.column_type(c)}" for c in columns)
        table = self.dialect.staging_table(name)
        self._connection.execute(f"CREATE TEMP TABLE {self.dialect.quote(name)} ({defined})")
        insertion = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
        rows = 0
        for batch in batches:
            values = zip(*(_values(array) for array in batch.columns), strict=True)
            self._connection.executemany(insertion, values)
            rows += batch.num_rows
        return rows

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._connection.execute(query).fetchone()[0])

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Run the statements in the transaction, and commit it."""
        changed = [self._run(statement) for statement in statements]
        for statement in conclude(changed):
            self._run(statement)
        self._connection.execute("COMMIT")

    def _run(self, statement: Statement) -> int:
        parameters = [_text(value) for value in statement.parameters]
        return self._connection.execute(statement.sql, parameters).rowcount


def _values(array: pa.Array) -> list[object]:
    if pa.types.is_timestamp(array.type):
        # Without a fraction where there is none, as strftime of Arrow has no such form.
        return [None if value is None else _text(value) for value in array.to_pylist()]
    if pa.types.is_date(array.type):
        return [None if value is None else value.isoformat() for value in array.to_pylist()]
    values: list[object] = array.to_pylist()
    return values


def _text(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


@contextmanager
def connect(address: Address) -> Iterator[SqliteDestination]:
    """Open a SQLite file, which is made private to the user if it is new.

    Raises:
        UsageError: The address has no path or names a schema, or another process keeps writing to the file.
        LocalFailure: The file cannot be opened or written.
    """
    path = address.file()
    if address.schema is not None:
        raise UsageError("SQLite has no schemas.", next_step="Leave --schema out; --table-prefix keeps tables apart.")
    try:
        os.close(open_file(path, os.O_RDWR | os.O_CREAT, follows=True))
        with path.open("rb") as file:
            if file.read(len(_FIRST_BYTES)) not in (b"", _FIRST_BYTES):
                raise UsageError(f"{path} is no SQLite file.", next_step="Name another file.")
    except OSError as error:
        raise LocalFailure(
            f"Opening {path} failed: {error.strerror}.", next_step="Check that the directory exists and may be written."
        ) from None
    try:
        # Instants are written by `_text`; Python's own adapters are deprecated.
        connection = sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
        with closing(connection):
            yield SqliteDestination(connection)
    except sqlite3.Error as error:
        raise _failure(path, error) from None


def _failure(path: Path, error: sqlite3.Error) -> UsageError | LocalFailure:
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return UsageError(f"Another process is writing to {path}.", next_step="Let it finish, then load again.")
    if name.startswith("SQLITE_CONSTRAINT"):
        return UsageError(
            f"A constraint of a table in {path} forbids the load ({name}).",
            kept="Nothing was changed.",
            next_step="Look for a foreign key or trigger of yours on the tables.",
        )
    return LocalFailure(
        f"SQLite failed on {path} ({name}).",
        kept="What was loaded before is unchanged.",
        next_step="Check that it may be written and that there is room, then load again.",
    )
