"""A stand-in for SQL Server behind its driver: DuckDB runs the load's statements, of which it takes those shapes only.

What it shows is the flow: which statements are sent in which order, what each leaves behind, and that any of them may
fail. What T-SQL a real server takes it does not show.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa

_NAME = r"\[(?:[^\]]|\]\])*\]"
_TYPES = {
    r"nvarchar\(450\) COLLATE Latin1_General_100_BIN2": "VARCHAR",
    r"nvarchar\(max\)": "VARCHAR",
    r"datetimeoffset\(6\)": "TIMESTAMPTZ",
    "bit": "BOOLEAN",
    "float": "DOUBLE",
}
_CATALOGUE = {"VARCHAR": "nvarchar", "TIMESTAMP WITH TIME ZONE": "datetimeoffset", "BOOLEAN": "bit", "DOUBLE": "float"}


class Error(Exception):
    """The driver's base class of errors."""


class OperationalError(Error):
    """What the driver raises for a lost connection."""


class FakeServer:
    """A server with one database. `fail_at` is the number of the call that fails, and with it the connection."""

    def __init__(self) -> None:
        self.database = duckdb.connect()
        self.database.execute("CREATE SCHEMA dbo")
        self.holder: FakeConnection | None = None
        self.statements: list[str] = []
        self.descriptions: list[str] = []
        self.calls = 0
        self.fail_at: int | None = None
        self.error: Callable[[], Exception] = lambda: OperationalError("the connection is broken")
        self.after_effect = False
        self.connections: list[str] = []

    def modules(self) -> dict[str, types.ModuleType]:
        """The driver's modules, for `sys.modules`."""
        driver, core = types.ModuleType("mssql_python"), types.ModuleType("mssql_py_core")
        driver.__dict__.update(Error=Error, connect=self.connect)
        core.__dict__.update(Error=type("CoreError", (Exception,), {}))
        return {"mssql_python": driver, "mssql_py_core": core}

    def connect(self, text: str, *, autocommit: bool) -> FakeConnection:
        """The driver's function."""
        self.connections.append(text)
        return FakeConnection(self, autocommit=autocommit)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What another session reads."""
        found = self.database.cursor().execute(sql).to_arrow_table()
        return [tuple(row.values()) for row in found.to_pylist()]

    def tables(self) -> set[str]:
        """The names of all tables."""
        return {name for (name,) in self.rows("SELECT table_name FROM duckdb_tables()")}


class FakeConnection:
    """A connection of the driver, with the one cursor that a load uses."""

    def __init__(self, server: FakeServer, *, autocommit: bool) -> None:
        self._server = server
        self._session = server.database.cursor()
        self._autocommit = autocommit
        self._open = False
        self._dead = False
        self._result: list[tuple[Any, ...]] = []
        self.rowcount = -1

    def cursor(self) -> FakeConnection:
        return self

    @property
    def autocommit(self) -> bool:
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._call(lambda: None)
        self._autocommit = value

    def commit(self) -> None:
        self._call(self._commit)

    def rollback(self) -> None:
        self._call(self._rollback)

    def close(self) -> None:
        self._end()

    def execute(self, sql: str, *parameters: Any) -> None:
        self._server.statements.append(sql)
        self._call(lambda: self._run(sql, parameters))

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._result

    def bulkcopy_arrow(self, table: str, reader: pa.RecordBatchReader, **options: Any) -> dict[str, int]:
        """Commits what it copies, and fails when half of it is there."""
        assert options["timeout"] > 0
        self._server.statements.append(f"bulk copy into {table}")

        def copy() -> None:
            own = self._server.database.cursor()
            for batch in reader:
                own.register("incoming", pa.Table.from_batches([batch]))
                own.execute(f"INSERT INTO {_translated(table)} SELECT * FROM incoming")

        self._call(copy, half=True)
        return {}

    def _call(self, effect: Callable[[], None], *, half: bool = False) -> None:
        server = self._server
        if self._dead:
            raise OperationalError("the connection is closed")
        server.calls += 1
        if server.calls != server.fail_at:
            effect()
            return
        if server.after_effect or half:
            effect()
        self._end()
        raise server.error()

    def _end(self) -> None:
        """The connection is gone, and with it its transaction and its lock."""
        if not self._dead:
            self._rollback()
            self._dead = True
            if self._server.holder is self:
                self._server.holder = None

    def _commit(self) -> None:
        if self._open:
            self._session.execute("COMMIT")
            self._open = False

    def _rollback(self) -> None:
        if self._open:
            self._session.execute("ROLLBACK")
            self._open = False

    def _run(self, sql: str, parameters: tuple[Any, ...]) -> None:
        self._result, self.rowcount = [], -1
        if not self._autocommit and not self._open:
            self._session.execute("BEGIN")
            self._open = True
        if sql == "SELECT SCHEMA_NAME()":
            self._result = [("dbo",)]
        elif sql.startswith("DECLARE @granted"):
            free = self._server.holder is None
            self._server.holder = self if free else self._server.holder
            self._result = [(0 if free else -1,)]
        elif sql.startswith("SELECT APPLOCK_MODE"):
            self._result = [("Exclusive" if self._server.holder is self else "NoLock",)]
        elif sql.startswith("EXEC sys.sp_releaseapplock"):
            self._server.holder = None
        elif sql.startswith("EXEC sys.sp_addextendedproperty"):
            self._server.descriptions.append(sql)
        elif sql.startswith("IF SCHEMA_ID"):
            quoted = re.search(rf"EXEC\(N'CREATE SCHEMA ({_NAME})'\)", sql.replace("''", "'"))
            assert quoted is not None
            self._session.execute(f"CREATE SCHEMA IF NOT EXISTS {_translated(quoted[1])}")
        elif "FROM sys." in sql:
            self._result = self._catalogue(sql, parameters)
        elif not sql.startswith("SET "):
            self._run_translated(sql, parameters)

    def _run_translated(self, sql: str, parameters: tuple[Any, ...]) -> None:
        result = self._session.execute(_translated(sql), list(parameters)).to_arrow_table()
        rows = [tuple(row.values()) for row in result.to_pylist()]
        if sql.startswith("SELECT"):
            self._result = rows
        elif sql.startswith(("INSERT", "UPDATE", "DELETE")):
            self.rowcount = rows[0][0]

    def _catalogue(self, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if "sys.index_columns" in sql:
            found = self._session.execute(
                "SELECT constraint_column_names FROM duckdb_constraints()"
                " WHERE schema_name = ? AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
                list(parameters),
            ).fetchone()
            return [(name,) for name in found[0]] if found else []
        if "sys.columns" not in sql:
            return self._session.execute(
                "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", list(parameters)
            ).fetchall()
        described = self._session.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns()"
            " WHERE schema_name = ? AND table_name = ? ORDER BY column_index",
            list(parameters),
        ).fetchall()
        return [_column(name, type_, nullable=nullable) for name, type_, nullable in described]


def _column(name: str, type_: str, *, nullable: bool) -> tuple[Any, ...]:
    """A row of sys.columns. Strings that may not be null are those of keys."""
    is_key = type_ == "VARCHAR" and not nullable
    collation = "Latin1_General_100_BIN2" if is_key else "SQL_Latin1_General_CP1_CI_AS"
    return (name, _CATALOGUE.get(type_, type_.lower()), 900 if is_key else -1, 6, collation, nullable)


def _translated(sql: str) -> str:
    """T-SQL as DuckDB takes it."""
    sql = re.sub(r"^IF OBJECT_ID\(.*?\) IS NULL CREATE TABLE", "CREATE TABLE IF NOT EXISTS", sql)
    sql = re.sub(rf"CAST\(([ts]\.{_NAME}) AS varbinary\(max\)\), DATALENGTH\(\1\)", r"\1", sql)
    sql = re.sub(rf"EXISTS \(SELECT (t\.{_NAME}) EXCEPT SELECT (s\.{_NAME})\)", r"\1 IS DISTINCT FROM \2", sql)
    sql = re.sub(
        r"^UPDATE t SET (.*) FROM (.*) AS t INNER JOIN (.*) AS s ON (.*?) WHERE (.*)$",
        r"UPDATE \2 AS t SET \1 FROM \3 AS s WHERE \4 AND (\5)",
        sql,
    )
    sql = re.sub(r"^DELETE t FROM", "DELETE FROM", sql)
    sql = re.sub(rf"(ADD {_NAME} .*) NULL$", r"\1", sql)
    for tsql, type_ in _TYPES.items():
        sql = re.sub(rf"(?<=\] ){tsql}(?=[ ,)]|$)", type_, sql)
    return re.sub(_NAME, lambda name: '"' + name[0][1:-1].replace("]]", "]").replace('"', '""') + '"', sql)
