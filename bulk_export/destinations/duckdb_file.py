"""A DuckDB file: `duckdb:///path/of/file.duckdb`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pyarrow as pa

from bulk_export.core.files import make_private_directory, private_umask
from bulk_export.destinations.address import Address
from bulk_export.destinations.destination import Conclusion, driver_of
from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.staged_rows import remembered, staged_schema
from bulk_export.destinations.statements import create_table
from bulk_export.destinations.tables import Column, ExistingColumn, ExistingTable, RecordedLoad, Statement, Table
from bulk_export.errors import LocalFailure, UsageError

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

_LONGEST_IDENTIFIER = 1024
_LONGER = {("integer", "bigint"), ("smallint", "bigint"), ("tinyint", "bigint"), ("float", "double")}
_INCOMING = "_bulk_export_incoming"


class DuckDBDialect(Dialect):
    """DuckDB's SQL: lists and objects are columns of their own kind."""

    name = "DuckDB"
    longest_identifier = _LONGEST_IDENTIFIER
    # Not JSON: its check refuses the surrogates without a partner that a service may send.
    json_type = "VARCHAR"
    holds_nul = True
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "VARCHAR",
        pa.bool_(): "BOOLEAN",
        pa.int64(): "BIGINT",
        pa.float64(): "DOUBLE",
        TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
        pa.date32(): "DATE",
    }

    def __init__(self, schema: str | None = None, parse: Callable[[str], DuckDBPyType] | None = None) -> None:
        self._schema = schema
        self._parse = parse

    def table(self, name: str) -> str:
        """A table of the load's schema."""
        return self.quote(name) if self._schema is None else f"{self.quote(self._schema)}.{self.quote(name)}"

    def staging_table(self, name: str) -> str:
        """A temporary table, whatever schema the others are in."""
        return f"temp.{self.quote(name)}"

    def nested_type(self, type_: pa.DataType) -> str | None:
        """The type of a list or an object."""
        if pa.types.is_list(type_):
            return f"{self._type(type_.value_type)}[]"
        if pa.types.is_struct(type_):
            return f"STRUCT({', '.join(f'{self.quote(field.name)} {self._type(field.type)}' for field in type_)})"
        return None

    def _type(self, type_: pa.DataType) -> str:
        return self.scalar_types.get(type_) or self.nested_type(type_) or self.json_type

    def spelled(self, type_: DuckDBPyType) -> str:
        """A type of DuckDB as this dialect writes it, with all names of members in quotes."""
        if type_.id == "list":
            return f"{self.spelled(_members(type_)['child'])}[]"
        if type_.id == "struct":
            members = (f"{self.quote(name)} {self.spelled(member)}" for name, member in _members(type_).items())
            return f"STRUCT({', '.join(members)})"
        return str(type_)

    def is_widening(self, existing: str, wanted: str) -> bool:
        """Whether a type gets longer integers or further members of objects, at any depth."""
        return self._parse is not None and _is_widening(self._parse(existing), self._parse(wanted))

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Where the rows come from, and the source of each column."""
        target = self.table(table.name)
        return (
            Statement(f"COMMENT ON TABLE {target} IS {self.literal(description)}"),
            *(
                Statement(f"COMMENT ON COLUMN {target}.{self.quote(column.name)} IS {self.literal(column.origin)}")
                for column in table.columns
                if column.source
            ),
        )


def _is_widening(existing: DuckDBPyType, wanted: DuckDBPyType) -> bool:
    if existing.id != wanted.id:
        return (existing.id, wanted.id) in _LONGER
    if existing.id == "list":
        return _is_widening(_members(existing)["child"], _members(wanted)["child"])
    if existing.id == "struct":
        members = _members(wanted)
        kept = _members(existing).items()
        return all(name in members and _is_widening(member, members[name]) for name, member in kept)
    return str(existing) == str(wanted)


def _members(type_: DuckDBPyType) -> dict[str, DuckDBPyType]:
    """The members of an object, or the element of a list under the name `child`."""
    return dict(cast("list[tuple[str, DuckDBPyType]]", type_.children))


class DuckDBDestination:
    """A connection to a DuckDB file, which one process at a time can write."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, schema: str | None) -> None:
        self._duckdb = DuckDBDialect(schema, connection.type)
        self.dialect: Dialect = self._duckdb
        self._connection = connection
        self._schema = schema

    def begin(self) -> None:
        """Begin the transaction. The file is locked while it is open."""
        self._connection.execute("BEGIN TRANSACTION")
        if self._schema is not None:
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.dialect.quote(self._schema)}")

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first."""
        if self.existing_table(NAME) is None:
            return []
        # Through Arrow: DuckDB itself wants another package for instants with a time zone.
        rows = self._connection.execute(query(self.dialect)).to_arrow_table()
        return [recorded_load(tuple(row.values())) for row in rows.to_pylist()]

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        schema = self._schema or self._value("SELECT current_schema()")
        nullable = dict(
            self._connection.execute(
                "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
                " WHERE table_catalog = current_database() AND table_schema = ? AND table_name = ?",
                [schema, name],
            ).fetchall()
        )
        if not nullable:
            return None
        described = self._connection.sql(f"SELECT * FROM {self.dialect.table(name)} LIMIT 0")
        columns = zip(described.columns, described.types, strict=True)
        key = self._connection.execute(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database()"
            " AND schema_name = ? AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
            [schema, name],
        ).fetchone()
        return ExistingTable(
            name,
            tuple(ExistingColumn(column, self._duckdb.spelled(type_), nullable[column]) for column, type_ in columns),
            tuple(key[0]) if key else (),
        )

    def fill(self, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """Create and fill a new table, which others see once the transaction is committed."""
        self._connection.execute(create_table(replace(table, key=()), self.dialect))
        return self._insert(self.dialect.table(table.name), table.columns, batches)

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Fill a temporary table."""
        defined = ", ".join(f"{self.dialect.quote(c.name)} {self.dialect.column_type(c)}" for c in columns)
        self._connection.execute(f"CREATE TEMP TABLE {self.dialect.quote(name)} ({defined})")
        return self._insert(self.dialect.staging_table(name), columns, batches)

    def _insert(self, table: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        failures: list[Exception] = []
        reader = pa.RecordBatchReader.from_batches(staged_schema(columns), remembered(batches, failures))
        self._connection.register(_INCOMING, reader)
        try:
            inserted = self._connection.execute(f"INSERT INTO {table} SELECT * FROM {_INCOMING}").fetchone()
        except Exception:
            if failures:
                raise failures[0] from None
            raise
        finally:
            self._connection.unregister(_INCOMING)
        return int(inserted[0]) if inserted else 0

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._value(query))

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Run the statements in the transaction, and commit it."""
        changed = [self._run(statement) for statement in statements]
        for statement in conclude(changed):
            self._run(statement)
        with private_umask():
            self._connection.execute("COMMIT")

    def _run(self, statement: Statement) -> int:
        result = self._connection.execute(statement.sql, list(statement.parameters))
        if statement.counted is None:
            return -1
        row = result.fetchone()
        return int(row[0]) if row else -1

    def _value(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        return row[0] if row else None


@contextmanager
def connect(address: Address) -> Iterator[DuckDBDestination]:
    """Open a DuckDB file, which is made private to the user from its first moment.

    Raises:
        UsageError: The address has no path, or another process has the file open.
        LocalFailure: The file cannot be opened or written.
    """
    with driver_of("duckdb"):
        import duckdb

    path = address.file()
    # Rows that do not fit into memory go there. DuckDB would make it readable by others.
    overflow = path.with_name(f"{path.name}.tmp")
    try:
        with private_umask():
            connection = duckdb.connect(str(path), config={"temp_directory": str(overflow)})
    except duckdb.Error as error:
        raise _failure(path, error) from None
    try:
        make_private_directory(overflow)
        yield DuckDBDestination(connection, address.schema)
    except duckdb.Error as error:
        raise _failure(path, error) from None
    finally:
        with private_umask():
            connection.close()
        with suppress(OSError):
            overflow.rmdir()


def _failure(path: Path, error: Exception) -> UsageError | LocalFailure:
    text = str(error)
    if "lock" in text.lower():
        return UsageError(f"Another process has {path} open.", next_step="Close it there, then load again.")
    return LocalFailure(
        f"DuckDB failed on {path} ({type(error).__name__}).",
        kept="What was loaded before is unchanged.",
        next_step="Check that the directory exists, may be written and has room, then load again.",
    )
