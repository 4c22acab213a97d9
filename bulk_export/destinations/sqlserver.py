"""SQL Server, Azure SQL and SQL databases in Fabric: `mssql://user@host/database`, through mssql-python.

Bulk copy uses a connection of its own, outside of any transaction. So rows are copied into staging tables that are
committed, and one transaction of T-SQL brings them into the tables.

1. A load holds an application lock from its begin, and looks in its transaction whether it still does.
2. The names of its staging tables are its own. A load that is killed leaves them; the next one, which has the lock,
   drops them.
3. Without user and password the driver logs in through Entra ID, as azure-identity finds it out.

This module imports without the driver, so that its flow is tested without a server.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from bulk_export.destinations.address import Address
from bulk_export.destinations.destination import Conclusion, driver_of
from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.sqlserver_dialect import SQLServerDialect, existing_column
from bulk_export.destinations.staged_rows import remembered, staged_schema
from bulk_export.destinations.tables import Column, ExistingTable, RecordedLoad, Statement
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, ServiceRefused, UsageError

_UNCHANGED = "Nothing was changed at the destination."
# How long to wait for another load, or for a lock that somebody holds on a table, in milliseconds.
_PATIENCE = 60_000
_LONGEST_COPY = 6 * 3600
_LEFT_OVER = re.compile(r"_bulk_export_staged_[0-9]+_[0-9a-f]{12}", re.ASCII)
_STAGING_TABLES = (
    "SELECT o.name FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id"
    " WHERE s.name = ? AND o.type = 'U' AND o.name LIKE N'!_bulk!_export!_staged!_%' ESCAPE '!'"
)
_COLUMNS = (
    "SELECT c.name, y.name, c.max_length, c.scale, c.collation_name, c.is_nullable FROM sys.columns AS c"
    " INNER JOIN sys.types AS y ON y.user_type_id = c.user_type_id"
    " INNER JOIN sys.objects AS o ON o.object_id = c.object_id"
    " INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id"
    " WHERE s.name = ? AND o.name = ? AND o.type IN ('U', 'V') ORDER BY c.column_id"
)
_KEY = (
    "SELECT c.name FROM sys.indexes AS i"
    " INNER JOIN sys.index_columns AS x ON x.object_id = i.object_id AND x.index_id = i.index_id"
    " INNER JOIN sys.columns AS c ON c.object_id = x.object_id AND c.column_id = x.column_id"
    " INNER JOIN sys.objects AS o ON o.object_id = i.object_id"
    " INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id"
    " WHERE s.name = ? AND o.name = ? AND i.is_primary_key = 1 ORDER BY x.key_ordinal"
)
_LOCK = (
    "DECLARE @granted int; EXEC @granted = sys.sp_getapplock @Resource = ?, @LockMode = 'Exclusive',"
    f" @LockOwner = 'Session', @LockTimeout = {_PATIENCE}; SELECT @granted"
)
_LOCK_MODE = "SELECT APPLOCK_MODE(N'public', ?, N'Session')"
_UNLOCK = "EXEC sys.sp_releaseapplock @Resource = ?, @LockOwner = 'Session'"
# Parameters of an address that the driver is given.
_KEYWORDS = {
    "authentication": "Authentication",
    "encrypt": "Encrypt",
    "hostnameincertificate": "HostnameInCertificate",
    "trusted_connection": "Trusted_Connection",
    "trustservercertificate": "TrustServerCertificate",
}


class _CopyFailed(Exception):
    """Bulk copy failed; the text may quote a value."""


class SQLServerDestination:
    """A connection to a SQL Server, which commits each statement until it publishes."""

    def __init__(self, connection: Any, schema: str | None) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._named_schema = schema
        self._schema = schema or str(self._value("SELECT SCHEMA_NAME()"))
        self.dialect: Dialect = SQLServerDialect(self._schema, secrets.token_hex(6))
        self._staged: list[str] = []
        self._locked = False

    def begin(self) -> None:
        """Wait for other loads into the schema, make it if it was named, and drop what killed loads left."""
        self._run("SET XACT_ABORT ON")
        self._run(f"SET LOCK_TIMEOUT {_PATIENCE}")
        if int(self._value(_LOCK, (self._resource,))) < 0:
            raise UsageError(
                f"Another load into the schema {self._schema} runs for more than {_PATIENCE // 1000} s.",
                kept=_UNCHANGED,
                next_step="Let it finish, then load again.",
            )
        self._locked = True
        if self._named_schema is not None:
            literal, quoted = self.dialect.literal, self.dialect.quote(self._schema)
            self._run(f"IF SCHEMA_ID({literal(self._schema)}) IS NULL EXEC({literal(f'CREATE SCHEMA {quoted}')})")
        for (name,) in self._rows(_STAGING_TABLES, (self._schema,)):
            if _LEFT_OVER.fullmatch(name):
                self._run(f"DROP TABLE IF EXISTS {self.dialect.table(name)}")

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_bulk_export_loads`, oldest first."""
        if self.existing_table(NAME) is None:
            return []
        return [recorded_load(row) for row in self._rows(query(self.dialect))]

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        columns = tuple(
            existing_column(column, type_, int(length), int(scale), collation, nullable=bool(nullable))
            for column, type_, length, scale, collation, nullable in self._rows(_COLUMNS, (self._schema, name))
        )
        if not columns:
            return None
        return ExistingTable(name, columns, tuple(key for (key,) in self._rows(_KEY, (self._schema, name))))

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Copy rows into a table that is committed, and count them there."""
        table = self.dialect.staging_table(name)
        defined = ", ".join(f"{self.dialect.quote(c.name)} {self.dialect.column_type(c)} NULL" for c in columns)
        self._staged.append(name)
        self._run(f"CREATE TABLE {table} ({defined})")
        failures: list[Exception] = []
        sent = _Sent(remembered(batches, failures))
        reader = pa.RecordBatchReader.from_batches(staged_schema(columns), sent)
        try:
            self._cursor.bulkcopy_arrow(table, reader, timeout=_LONGEST_COPY, table_lock=True, keep_nulls=True)
        except Exception as error:
            if failures:
                raise failures[0] from None
            if isinstance(error, RuntimeError):
                raise _CopyFailed(str(error)) from None
            raise
        arrived = self.count(f"SELECT COUNT(*) FROM {table}")
        if arrived != sent.rows:
            raise ServiceFailing(
                f"Of {sent.rows:,} rows the destination has {arrived:,}.", kept=_UNCHANGED, next_step="Load again."
            )
        return arrived

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._value(query))

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Run the statements in one transaction, which needs the lock, and commit it."""
        self._connection.autocommit = False
        if self._value(_LOCK_MODE, (self._resource,)) != "Exclusive":
            raise ServiceFailing(
                "The connection was lost, and the load's lock with it.", kept=_UNCHANGED, next_step="Load again."
            )
        changed = [self._run(statement.sql, statement.parameters) for statement in statements]
        for statement in conclude(changed):
            self._run(statement.sql, statement.parameters)
        self._connection.commit()
        self._staged.clear()

    def close(self, errors: tuple[type[Exception], ...]) -> None:
        """Roll back, drop this load's staging tables, and give back the lock, as far as the connection allows."""
        with suppress(*errors):
            self._connection.rollback()
            self._connection.autocommit = True
            for name in self._staged:
                self._run(self.dialect.drop_staging(name))
        with suppress(*errors):
            # The driver may keep the connection for later ones, and the lock with it.
            if self._locked:
                self._run(_UNLOCK, (self._resource,))
        with suppress(*errors):
            self._connection.close()

    @property
    def _resource(self) -> str:
        return f"bulk-export load into {self._schema}"

    def _run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        self._cursor.execute(sql, *parameters)
        return int(self._cursor.rowcount)

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._cursor.execute(sql, *parameters)
        return [tuple(row) for row in self._cursor.fetchall()]

    def _value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        return self._rows(sql, parameters)[0][0]


class _Sent:
    """Counts the rows of batches."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = batches
        self.rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


@contextmanager
def connect(address: Address) -> Iterator[SQLServerDestination]:
    """Connect to a server, with the user and password of the address or through Entra ID.

    Raises:
        ServiceRefused: The server refuses the login, the database, or a right.
        ServiceFailing: The server cannot be reached, or the connection was lost.
        UsageError: The driver is not installed, the address cannot be used, another load holds the lock, or a
            constraint of a person forbids the load.
        LocalFailure: The server has no room.
    """
    text = connection_string(address)
    with driver_of("mssql"):
        import mssql_py_core
        import mssql_python
    # Where nobody configured logging, warnings would go to standard error, beside this package's own message.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    errors: tuple[type[Exception], ...] = (mssql_python.Error, mssql_py_core.Error)
    try:
        connection = mssql_python.connect(text, autocommit=True)
    except (mssql_python.Error, RuntimeError, ValueError) as error:
        raise _failure(address, error) from None
    destination: SQLServerDestination | None = None
    try:
        destination = SQLServerDestination(connection, address.schema)
        yield destination
    except (mssql_python.Error, mssql_py_core.Error, _CopyFailed) as error:
        raise _failure(address, error) from None
    finally:
        if destination is not None:
            destination.close((*errors, RuntimeError))
        else:
            connection.close()


def connection_string(address: Address) -> str:
    """What the driver is given: always encrypted unless the address says otherwise, and through Entra ID by default.

    Raises:
        UsageError: There is no host or database, or a parameter is unknown.

    >>> connection_string(Address("mssql", "db.example", user="reader", password="a;b", path="npq"))
    'Server={tcp:db.example,1433};Database={npq};Encrypt={yes};UID={reader};PWD={a;b}'
    """
    if not address.host or not address.path:
        raise UsageError(f"{address} names no server and database.", next_step="Write mssql://user@host/database.")
    values = {"Server": f"tcp:{address.host},{address.port or 1433}", "Database": address.path, "Encrypt": "yes"}
    for name, value in address.parameters.items():
        keyword = _KEYWORDS.get(name.lower())
        if keyword is None:
            raise UsageError(
                f"{address.scheme}:// has no parameter {name!r}.", next_step=f"There are: {', '.join(_KEYWORDS)}."
            )
        values[keyword] = value
    if address.user is not None:
        values["UID"] = address.user
    if address.password is not None:
        values["PWD"] = address.password
    elif not {"Authentication", "Trusted_Connection"} & values.keys():
        values["Authentication"] = "ActiveDirectoryDefault"
    return ";".join(f"{name}={{{value.replace('}', '}}')}}}" for name, value in values.items())


def _failure(address: Address, error: Exception) -> BulkExportError:
    """What an error means, by what is in its text; the text is not repeated, since it may quote a value."""
    text = str(error)

    def said(*patterns: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)

    if said("login failed", "cannot open (database|server)", "authentication", "credential", "access token"):
        return ServiceRefused(
            f"{address} refuses the login or the database.",
            kept=_UNCHANGED,
            next_step="Check user, database and password (--password-file, env:NAME), or the Entra login (az login).",
        )
    if said("permission", "not have access", "cannot .* because it does not exist or you do not have"):
        return ServiceRefused(
            f"{address} does not allow it: a right is missing.",
            kept=_UNCHANGED,
            next_step="Let an owner grant CREATE TABLE in the database, and CONTROL on the schema.",
        )
    if said("lock request time ?out"):
        return UsageError(
            f"Somebody's lock keeps {address} busy for more than {_PATIENCE // 1000} s.",
            kept=_UNCHANGED,
            next_step="Let it finish, then load again.",
        )
    if said("could not allocate", "is full", "reached its size quota"):
        return LocalFailure(f"{address} lacks room.", kept=_UNCHANGED, next_step="Make room, then load again.")
    if said("load the driver"):
        return LocalFailure(
            "The driver mssql-python lacks libraries of this system.",
            kept=_UNCHANGED,
            next_step="Install them (Debian: apt-get install libltdl7 libkrb5-3 libgssapi-krb5-2).",
        )
    if said("truncat", "column length", "conver") or type(error).__name__ in ("IntegrityError", "ProgrammingError"):
        return UsageError(
            f"{address} refuses the rows or the change of a table ({type(error).__name__}).",
            kept=_UNCHANGED,
            next_step="Look for an id of more than 450 characters, or a constraint, trigger or view of yours.",
        )
    return ServiceFailing(
        f"There is no connection to {address}, or it was lost ({type(error).__name__.lstrip('_')}).",
        kept=_UNCHANGED,
        next_step="Check host, port and firewall, and that the server runs; then load again.",
    )
