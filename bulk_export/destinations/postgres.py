"""PostgreSQL: `postgresql://user@host/database`, through ADBC, which copies Arrow batches in binary.

Staging tables are temporary. They are filled within the transaction that changes the tables, so a load that ends
anywhere leaves nothing. New tables are filled without staging. The driver takes no objects, so these are sent as texts,
which is how the columns of type json receive them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pyarrow as pa

from bulk_export.destinations.address import Address
from bulk_export.destinations.destination import Conclusion, driver_of
from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.staged_rows import remembered, staged_schema
from bulk_export.destinations.statements import create_table
from bulk_export.destinations.tables import Column, ExistingColumn, ExistingTable, RecordedLoad, Statement, Table
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, ServiceRefused, UsageError

# How long to wait for another load, or for a lock that somebody holds on a table.
_PATIENCE = "60s"
_UNCHANGED = "Nothing was changed at the destination."
# What the transaction begins with, whatever the role or the database has for others.
_SETTINGS = (
    # What the load that held the lock has committed is seen once the lock is had, not the time before it.
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # Limits that keep people's queries short would end a long load halfway, over and over.
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
# For a server that vanishes: how long to wait for an answer to a connection, and then for a sign of life.
_VIGILANCE = {
    "connect_timeout": "30",
    "keepalives_idle": "60",
    "keepalives_interval": "15",
    "keepalives_count": "4",
    "tcp_user_timeout": "120000",
}
_ENVIRONMENT = frozenset({"PGSERVICE", "PGCONNECT_TIMEOUT"})
# What a driver says of its own that no repetition changes: it cannot do something, or was called wrongly.
_OF_THE_DRIVER = frozenset({"NOT_IMPLEMENTED", "NOT_FOUND", "ALREADY_EXISTS", "INVALID_ARGUMENT"})
# What a server says that can be said again later; other refusals of a connection are for good.
_PASSING = re.compile(r"starting up|shutting down|too many|remaining connection slots|recovery", re.IGNORECASE)
_WIDER = {
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("real", "double precision"),
    ("character varying", "text"),
    ("json", "text"),
}


class PostgresDialect(Dialect):
    """PostgreSQL's SQL: lists of single values are arrays, all else that is nested is json, which keeps every digit."""

    name = "PostgreSQL"
    json_type = "json"
    scalar_types: ClassVar[dict[pa.DataType, str]] = {
        pa.string(): "text",
        pa.bool_(): "boolean",
        pa.int64(): "bigint",
        pa.float64(): "double precision",
        TIMESTAMP: "timestamp with time zone",
        pa.date32(): "date",
    }

    def __init__(self, schema: str) -> None:
        self.schema = schema

    def table(self, name: str) -> str:
        """A table of the load's schema."""
        return f"{self.quote(self.schema)}.{self.quote(name)}"

    def staging_table(self, name: str) -> str:
        """A temporary table."""
        return f"pg_temp.{self.quote(name)}"

    def nested_type(self, type_: pa.DataType) -> str | None:
        """An array, for lists of single values."""
        if pa.types.is_list(type_) and type_.value_type in self.scalar_types:
            return f"{self.scalar_types[type_.value_type]}[]"
        return None

    def placeholder(self, position: int) -> str:
        """Numbered."""
        return f"${position}"

    def staged_value(self, column: Column, value: str) -> str:
        """A staged text as json, for columns that are json."""
        return f"{value}::json" if column.json else value

    def differs(self, column: Column, left: str, right: str) -> str:
        """Json has no equality, so its texts are compared."""
        return f"{left}::text IS DISTINCT FROM {right}" if column.json else f"{left} IS DISTINCT FROM {right}"

    def is_widening(self, existing: str, wanted: str) -> bool:
        """Whether a type gets longer integers or texts."""
        bare = existing.partition("(")[0]
        return (bare, wanted) in _WIDER or (bare.removesuffix("[]"), wanted.removesuffix("[]")) in _WIDER

    def alter_type(self, table: str, column: Column) -> str:
        """The statement that changes a type, also to one to which PostgreSQL does not convert by itself."""
        return f"{super().alter_type(table, column)} USING {self.quote(column.name)}::{self.column_type(column)}"

    def comments(self, table: Table, description: str) -> tuple[Statement, ...]:
        """Where the rows come from, and the source of each column."""
        target = self.table(table.name)
        return (
            Statement(f"COMMENT ON TABLE {target} IS {self.literal(description)}"),
            *(
                Statement(f"COMMENT ON COLUMN {target}.{self.quote(column.name)} IS {self.literal(column.origin)}")
                for column in table.columns
            ),
        )

    def literal(self, text: str) -> str:
        """A text as a literal, whatever `standard_conforming_strings` is."""
        escaped = text.replace("\\", "\\\\").replace("'", "''")
        return f"E'{escaped}'"


class PostgresDestination:
    """A connection to a PostgreSQL server, with one transaction that ends with it."""

    def __init__(self, driver: Any, connection: Any, schema: str | None) -> None:
        self._driver = driver
        self._connection = connection
        self._cursor = connection.cursor()
        self._named_schema = schema
        for statement in _SETTINGS:
            self._execute(statement)
        self._postgres = PostgresDialect(schema or str(self._value("SELECT coalesce(current_schema(), 'public')")))
        self.dialect: Dialect = self._postgres

    def begin(self) -> None:
        """Wait for other loads into the schema, and make it if it was named and is not there."""
        schema = self._postgres.schema
        self._execute(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
        self._execute("SELECT pg_advisory_xact_lock(hashtextextended('bulk-export load into ' || $1, 0))", (schema,))
        exists = self._rows("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", (schema,))
        if not exists and self._named_schema is not None:
            self._execute(f"CREATE SCHEMA {self.dialect.quote(schema)}")

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first."""
        if self.existing_table(NAME) is None:
            return []
        return [recorded_load(row) for row in self._rows(query(self.dialect))]

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        columns = self._rows(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull FROM pg_catalog.pg_attribute a"
            " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            (self._postgres.schema, name),
        )
        if not columns:
            return None
        key = self._rows(
            "SELECT a.attname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)"
            " WHERE n.nspname = $1 AND c.relname = $2 AND i.indisprimary ORDER BY a.attnum",
            (self._postgres.schema, name),
        )
        return ExistingTable(
            name, tuple(ExistingColumn(*column) for column in columns), tuple(column for (column,) in key)
        )

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Copy rows into a temporary table, in the transaction."""
        staged = self._copy(columns, batches, name, mode="create", temporary=True)
        # Without it the planner takes a temporary table for a small one.
        self._execute(f"ANALYZE {self.dialect.staging_table(name)}")
        return staged

    def fill(self, table: Table, batches: Iterable[pa.RecordBatch]) -> int:
        """Copy rows into a new table, which others see once the transaction is committed."""
        self._execute(create_table(replace(table, key=()), self.dialect))
        return self._copy(table.columns, batches, table.name, mode="append", db_schema_name=self._postgres.schema)

    def _copy(self, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], name: str, **how: Any) -> int:
        failures: list[Exception] = []
        reader = pa.RecordBatchReader.from_batches(staged_schema(columns), remembered(batches, failures))
        try:
            return int(self._cursor.adbc_ingest(name, reader, **how))
        except self._driver.Error:
            if failures:
                raise failures[0] from None
            raise

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._value(query))

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Run the statements in the transaction, and commit it."""
        changed = [self._run(statement) for statement in statements]
        for statement in conclude(changed):
            self._run(statement)
        self._connection.commit()

    def close(self) -> None:
        """End the transaction, unless it is committed, and the connection."""
        with suppress(self._driver.Error):
            self._cursor.close()
        with suppress(self._driver.Error):
            self._connection.close()

    def _run(self, statement: Statement) -> int:
        self._execute(statement.sql, statement.parameters)
        return int(self._cursor.rowcount)

    def _execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._cursor.execute(sql, tuple(parameters) or None)

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._execute(sql, parameters)
        rows: list[tuple[Any, ...]] = self._cursor.fetchall()
        return rows

    def _value(self, sql: str) -> Any:
        return self._rows(sql)[0][0]


@contextmanager
def connect(address: Address) -> Iterator[PostgresDestination]:
    """Connect to a server, with the password of the address or from libpq's own places.

    Raises:
        ServiceRefused: The server refuses the user, the password, the database, or a right.
        ServiceFailing: The server cannot be reached, or the connection was lost.
        UsageError: Another load holds the lock, or a constraint of a person forbids the load.
        LocalFailure: The server has no room, or something failed that nobody foresaw.
    """
    with driver_of("postgresql"):
        import adbc_driver_postgresql.dbapi as driver
    try:
        connection = driver.connect(_uri(address), autocommit=False)
    except driver.Error as error:
        raise _refused_connection(address, error) from None
    destination: PostgresDestination | None = None
    try:
        destination = PostgresDestination(driver, connection, address.schema)
        yield destination
    except driver.Error as error:
        raise _failure(address, error) from None
    finally:
        if destination is not None:
            destination.close()
        else:
            connection.close()


def _uri(address: Address) -> str:
    user = "" if address.user is None else quote(address.user, safe="")
    password = "" if address.password is None else f":{quote(address.password, safe='')}"
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = "" if address.port is None else f":{address.port}"
    # A parameter of the URL outdoes what a service of pg_service.conf or the environment says of the same thing.
    vigilance = {} if "service" in address.parameters or _ENVIRONMENT.intersection(os.environ) else _VIGILANCE
    # Arrow's strings are UTF-8; without being told, a server takes them to be in the encoding of its database.
    named = {"application_name": "bulk-export", **vigilance, **address.parameters}
    parameters = {**named, "client_encoding": "UTF8"}
    at = "@" if user or password else ""
    return (
        f"postgresql://{user}{password}{at}{host}{port}/{quote(address.path)}?{urlencode(parameters, quote_via=quote)}"
    )


def _refused_connection(address: Address, error: Any) -> BulkExportError:
    """Why there is no connection. A server that answers says FATAL; a message of libpq holds no password."""
    _, answered, said = str(error).partition("FATAL:")
    first = said.strip().partition("\n")[0]
    if "no password supplied" in str(error):
        answered, first = "FATAL:", "it wants a password"
    if answered and not _PASSING.search(first):
        return ServiceRefused(
            f"{address} refuses the connection: {first}.",
            kept=_UNCHANGED,
            next_step="Check user, database and password (--password-file, env:NAME, PGPASSFILE or ~/.pgpass).",
        )
    reason = first or (str(error).rpartition("failed:")[2].strip().partition("\n")[0] or "it cannot be reached")
    return ServiceFailing(
        f"There is no connection to {address}: {reason}.",
        kept=_UNCHANGED,
        next_step="Check host and port, and that the server runs; then load again.",
    )


def _failure(address: Address, error: Any) -> BulkExportError:
    """What a server's error means. Its detail is left out, since it quotes values of rows."""
    state = error.sqlstate or ""
    said = f"{_primary(error)} ({state})" if state else type(error).__name__
    if state == "55P03":
        return UsageError(
            f"Another load, or somebody's lock, keeps {address} busy for more than {_PATIENCE}.",
            kept=_UNCHANGED,
            next_step="Let it finish, then load again.",
        )
    if state.startswith(("42501", "28", "25006")):
        return ServiceRefused(
            f"{address} does not allow it: {said}.",
            kept=_UNCHANGED,
            next_step="Let an owner grant the user TEMPORARY on the database, CREATE and USAGE on the schema, and"
            " ownership of its tables.",
        )
    if state == "57014":
        return ServiceRefused(f"Somebody at {address} cancelled the load.", kept=_UNCHANGED, next_step="Ask why.")
    if state.startswith("40"):
        return ServiceFailing(
            f"Another transaction at {address} got in the way: {said}.", kept=_UNCHANGED, next_step="Load again."
        )
    if state.startswith(("08", "57P", "25P03")) or (not state and error.status_code.name not in _OF_THE_DRIVER):
        return ServiceFailing(
            f"The connection to {address} was lost: {said}.", kept=_UNCHANGED, next_step="Load again."
        )
    if state.startswith("53"):
        return LocalFailure(f"{address} lacks room: {said}.", kept=_UNCHANGED, next_step="Make room, then load again.")
    if state == "3F000":
        return UsageError(
            f"{address} has no schema for the tables.", kept=_UNCHANGED, next_step="Name one with --schema."
        )
    if state == "22P05":
        return UsageError(
            f"The encoding of {address} lacks a character of the rows.",
            kept=_UNCHANGED,
            next_step="Load into a database whose encoding is UTF8.",
        )
    if state.startswith(("23", "42", "2BP01", "P0", "0A", "54", "55", "44")):
        return UsageError(
            f"{address} refuses the change of a table: {said}.",
            kept=_UNCHANGED,
            next_step="Look for a constraint, trigger or view of yours that forbids it.",
        )
    return LocalFailure(
        f"{address} failed: {said}.", kept=_UNCHANGED, next_step="--debug, or the logger bulk_export, shows where."
    )


def _primary(error: Any) -> str:
    """The server's sentence, unless it may quote values: of types that do not fit, and what triggers make up."""
    said = dict(error.details)
    sentence = said.get(b"PG_DIAG_MESSAGE_PRIMARY", b"").decode(errors="replace")
    made_up = b"RAISE" in said.get(b"PG_DIAG_CONTEXT", b"")
    return "no more is said" if not sentence or made_up or (error.sqlstate or "").startswith("22") else sentence
