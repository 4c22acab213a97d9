"""Snowflake: `snowflake://account/database`, through its connector.

1. Rows go as Parquet into a temporary stage, and from there into temporary tables. Both end with the session, so a load
   that is killed leaves none.
2. Statements that define tables commit by themselves. They come first, and a table that such a load leaves empty is
   taken by the next one, which knows it by its comment.
3. One transaction changes the rows. It begins by updating a row of `_BULK_EXPORT_LOCK`, for which it waits while
   another load publishes; if that one recorded something, this load starts again.
4. Credentials are those of the connector's own places: a connection of connections.toml, with a key pair or SSO.

This module imports without the driver, so that it is tested where there is none.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from bulk_export.destinations.address import Address
from bulk_export.destinations.destination import Conclusion, driver_of
from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.loads_table import NAME, query, recorded_load
from bulk_export.destinations.snowflake_dialect import UNFINISHED, SnowflakeDialect, existing_type
from bulk_export.destinations.staged_files import staged_files, temporary_directory
from bulk_export.destinations.staged_rows import staged_schema
from bulk_export.destinations.tables import Column, ExistingColumn, ExistingTable, RecordedLoad, Statement
from bulk_export.errors import BulkExportError, ServiceFailing, ServiceRefused, UsageError

_UNCHANGED = "The rows at the destination are unchanged."
# How long to wait for a table that somebody changes, in seconds.
_PATIENCE = 60
_LOCK = "_BULK_EXPORT_LOCK"
# What ends with the session. (The emulator of the tests cannot copy into temporary tables.)
_STAGING = "TEMPORARY"
_PARAMETERS = ("authenticator", "connection", "role", "warehouse")
_REFUSED_LOGIN = range(390_000, 391_000)
_NO_RIGHT, _NOT_FOUND, _NOT_ACTIVE, _LOCKED = 3001, 2003, 2043, 625


class SnowflakeDestination:
    """A session in Snowflake, which commits each statement until it publishes."""

    def __init__(self, connection: Any, schema: str | None) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._named_schema = schema
        self._schema = schema or str(self._value("SELECT CURRENT_SCHEMA()") or "PUBLIC")
        self._snowflake = SnowflakeDialect(self._schema, secrets.token_hex(6).upper())
        self.dialect: Dialect = self._snowflake
        self._loads = 0

    def begin(self) -> None:
        """Make the schema if it was named, and the row that publishing loads wait for."""
        exists = self._rows("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", (self._schema,))
        if self._named_schema is not None and not exists:
            self._run(f"CREATE SCHEMA IF NOT EXISTS {self.dialect.quote(self._schema)}")
        lock = self.dialect.table(_LOCK)
        self._run(f'CREATE TABLE IF NOT EXISTS {lock} ("LOADS" NUMBER(38,0) NOT NULL)')
        # Two loads may both insert one; each updates both.
        self._run(f'INSERT INTO {lock} ("LOADS") SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM {lock})')

    def recorded_loads(self) -> Sequence[RecordedLoad]:
        """The rows of `_BULK_EXPORT_LOADS`, oldest first."""
        if self.existing_table(self.dialect.fold(NAME)) is None:
            return []
        loads = [recorded_load(row) for row in self._rows(query(self.dialect))]
        self._loads = len(loads)
        return loads

    def existing_table(self, name: str) -> ExistingTable | None:
        """A table or view as it is."""
        found = self._rows(
            "SELECT table_type, comment FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
            (self._schema, name),
        )
        if not found:
            return None
        ((kind, comment),) = found
        table = self.dialect.table(name)
        columns = tuple(
            ExistingColumn(row["name"], existing_type(row["type"]), row["null?"] == "Y")
            for row in self._named_rows(f"DESCRIBE TABLE {table}")
        )
        is_table = kind == "BASE TABLE"
        key = self._named_rows(f"SHOW PRIMARY KEYS IN TABLE {table}") if is_table else []
        ordered = sorted(key, key=lambda row: int(row["key_sequence"]))
        unfinished = is_table and comment == UNFINISHED and not self.count(f"SELECT COUNT(*) FROM {table}")
        return ExistingTable(name, columns, tuple(row["column_name"] for row in ordered), unfinished)

    def stage(self, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        """Send rows as private files, which are removed one by one, and copy them into a temporary table."""
        files = f"{name}_FILES"
        table, stage = self.dialect.staging_table(name), self._snowflake.stage(files)
        quote = self.dialect.quote
        defined = ", ".join(f"{quote(c.name)} {self._snowflake.staging_type(c)}" for c in columns)
        self._run(f"CREATE {_STAGING} TABLE {table} ({defined})")
        self._run(f"CREATE TEMPORARY STAGE {self.dialect.staging_table(files)}")
        sent = 0
        with temporary_directory() as directory:
            for path, rows in staged_files(directory, staged_schema(columns), batches):
                source = self.dialect.literal(f"file://{path.as_posix()}")
                self._run(f"PUT {source} {stage} AUTO_COMPRESS=FALSE OVERWRITE=TRUE")
                path.unlink()
                sent += rows
        if sent:
            self._run(
                f"COPY INTO {table} FROM {stage} FILE_FORMAT=(TYPE=PARQUET USE_LOGICAL_TYPE=TRUE)"
                " MATCH_BY_COLUMN_NAME=CASE_SENSITIVE"
            )
        arrived = self.count(f"SELECT COUNT(*) FROM {table}")
        if arrived != sent:
            raise ServiceFailing(
                f"Of {sent:,} rows the destination has {arrived:,}.", kept=_UNCHANGED, next_step="Load again."
            )
        return arrived

    def count(self, query: str) -> int:
        """The value of a query that counts."""
        return int(self._value(query))

    def publish(self, statements: Sequence[Statement], conclude: Conclusion) -> None:
        """Define tables, change rows in one transaction, and comment on tables, in this order."""
        changed = [-1] * len(statements)
        described = [statement for statement in statements if statement.sql.startswith("COMMENT ")]
        for statement in statements:
            if statement.counted is None and statement not in described:
                self._run(statement.sql)
        self._run("BEGIN TRANSACTION")
        self._run(f'UPDATE {self.dialect.table(_LOCK)} SET "LOADS" = "LOADS" + 1')
        if self.count(f"SELECT COUNT(*) FROM {self.dialect.table(self.dialect.fold(NAME))}") != self._loads:
            raise ServiceFailing("Another load was faster.", kept=_UNCHANGED, next_step="Load again.")
        for position, statement in enumerate(statements):
            if statement.counted is not None:
                changed[position] = self._run(statement.sql, statement.parameters)
        for statement in conclude(changed):
            self._run(statement.sql, statement.parameters)
        self._run("COMMIT")
        for statement in described:
            self._run(statement.sql)

    def close(self, errors: type[Exception]) -> None:
        """Roll back and end the session, as far as the connection allows."""
        with suppress(errors):
            self._connection.rollback()
        with suppress(errors):
            self._connection.close()

    def _run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        self._cursor.execute(sql, tuple(parameters) or None)
        counted = self._cursor.rowcount
        return -1 if counted is None else int(counted)

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        self._run(sql, parameters)
        return [tuple(row) for row in self._cursor.fetchall()]

    def _named_rows(self, sql: str) -> list[dict[str, Any]]:
        rows = self._rows(sql)
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _value(self, sql: str) -> Any:
        return self._rows(sql)[0][0]


@contextmanager
def connect(address: Address) -> Iterator[SnowflakeDestination]:
    """Connect with a user and password of the address, or with a connection of connections.toml.

    Raises:
        ServiceRefused: Snowflake refuses the login, the database, or a right.
        ServiceFailing: Snowflake cannot be reached, or the connection was lost.
        UsageError: The driver is not installed, the address cannot be used, or a person's object forbids the load.
        LocalFailure: The rows could not be written to the temporary directory.
    """
    arguments = connection_arguments(address, os.environ)
    with driver_of("snowflake"):
        import snowflake.connector
    # Where nobody configured logging, warnings would go to standard error, beside this package's own message.
    logging.getLogger("snowflake").addHandler(logging.NullHandler())
    try:
        connection = snowflake.connector.connect(**arguments)
    except snowflake.connector.errors.Error as error:
        raise _failure(address, error) from None
    destination: SnowflakeDestination | None = None
    try:
        destination = SnowflakeDestination(connection, address.schema)
        yield destination
    except snowflake.connector.errors.Error as error:
        raise _failure(address, error) from None
    finally:
        if destination is not None:
            destination.close(snowflake.connector.errors.Error)
        else:
            connection.close()


def connection_arguments(address: Address, variables: Mapping[str, str]) -> dict[str, Any]:
    """What the connector is given. Without a user, a connection of connections.toml has the credentials.

    Raises:
        UsageError: There is no account or database, or a parameter is unknown.
    """
    if not address.host or not address.path or "/" in address.path:
        raise UsageError(f"{address} names no account and database.", next_step="Write snowflake://account/database.")
    unknown = [name for name in address.parameters if name not in _PARAMETERS]
    if unknown:
        raise UsageError(
            f"snowflake:// has no parameter {unknown[0]!r}.", next_step=f"There are: {', '.join(_PARAMETERS)}."
        )
    given = dict(address.parameters)
    arguments: dict[str, Any] = {
        "account": address.host,
        "database": address.path,
        "paramstyle": "qmark",
        # Instants without a zone would otherwise be those of the session's; the default waits for twelve hours.
        "session_parameters": {"TIMEZONE": "UTC", "LOCK_TIMEOUT": _PATIENCE},
        "autocommit": True,
        # Otherwise the connector tries for five minutes.
        "login_timeout": _PATIENCE,
    }
    name = given.pop("connection", None)
    if name is not None or address.user is None:
        arguments["connection_name"] = name or variables.get("SNOWFLAKE_DEFAULT_CONNECTION_NAME", "default")
    secret = {"user": address.user, "password": address.password}
    return arguments | given | {key: value for key, value in secret.items() if value is not None}


def _failure(address: Address, error: Any) -> BulkExportError:
    """What an error means, by its number; its text is not repeated, since it may quote a value."""
    number = getattr(error, "errno", None) or -1
    said = f"{type(error).__name__} {number}" if number > 0 else type(error).__name__
    if number in _REFUSED_LOGIN or "ncorrect username or password" in str(error):
        return ServiceRefused(
            f"{address} refuses the login ({said}).",
            kept=_UNCHANGED,
            next_step="Check account, user and password (--password-file, env:NAME), or the key in connections.toml.",
        )
    if number in (_NO_RIGHT, _NOT_FOUND, _NOT_ACTIVE) or getattr(error, "sqlstate", None) == "42501":
        return ServiceRefused(
            f"{address} does not allow it, or lacks the database, schema or warehouse ({said}).",
            kept=_UNCHANGED,
            next_step="Check their names; let an owner grant USAGE on them, and CREATE TABLE and STAGE on the schema.",
        )
    if number == _LOCKED:
        return UsageError(
            f"Another load, or somebody's change, keeps {address} busy for more than {_PATIENCE} s.",
            kept=_UNCHANGED,
            next_step="Let it finish, then load again.",
        )
    if "connection_name" in str(error) or "onnections.toml" in str(error):
        return UsageError(
            "The connection for Snowflake is not in connections.toml, or that file cannot be used.",
            kept=_UNCHANGED,
            next_step="Write it there, or name a user: snowflake://user@account/database with --password-file.",
        )
    if type(error).__name__ in ("ProgrammingError", "IntegrityError", "DataError"):
        return UsageError(
            f"{address} refuses the rows or the change of a table ({said}).",
            kept=_UNCHANGED,
            next_step="Look for a policy, view or constraint of yours that forbids it.",
        )
    return ServiceFailing(
        f"There is no connection to {address}, or it was lost ({said}).",
        kept=_UNCHANGED,
        next_step="Check the account's name and the network; then load again.",
    )
