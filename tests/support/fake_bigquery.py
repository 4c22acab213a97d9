"""A stand-in for BigQuery behind its client: DuckDB runs the load's statements, of which it takes those shapes only.

What it shows is the flow: which jobs are sent in which order, what each leaves behind, and that any call may fail. What
SQL the service takes, and when it cancels transactions, it does not show.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import IO, Any

import duckdb
import pyarrow.parquet as pq

_QUOTED = r"`((?:[^`\\]|\\.)*)`"
_TYPES = {"STRING": "VARCHAR", "BOOL": "BOOLEAN", "INT64": "BIGINT", "FLOAT64": "DOUBLE", "TIMESTAMP": "TIMESTAMPTZ"}
_CATALOGUE = {
    "VARCHAR": "STRING",
    "BOOLEAN": "BOOLEAN",
    "BIGINT": "INTEGER",
    "DOUBLE": "FLOAT",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
}


class GoogleAPIError(Exception):
    """The base class of the client's errors, with the code of the answer."""

    code: int | None = None

    def __init__(self, text: str = "", reason: str = "") -> None:
        super().__init__(text)
        self.errors = [{"reason": reason}] if reason else []


class BadRequest(GoogleAPIError):
    code = 400


class Unauthorized(GoogleAPIError):
    code = 401


class Forbidden(GoogleAPIError):
    code = 403


class NotFound(GoogleAPIError):
    code = 404


class Conflict(GoogleAPIError):
    code = 409


class ServerError(GoogleAPIError):
    code = 503


class GoogleAuthError(Exception):
    """The base class of errors of credentials."""


class DefaultCredentialsError(GoogleAuthError):
    """There are none."""


class RequestException(OSError):
    """A request that got no answer."""


class FakeBigQuery:
    """A project with the dataset `npq`.

    Attributes:
        calls: How many calls there were.
        fail_at: The number of the call that fails.
        after_effect: Whether it fails after it had its effect.
        stays_dead: Whether all further calls of that client fail.
        sent: The name, id and configuration of each job, and its statements or the table that it loads.
    """

    def __init__(self) -> None:
        self.database = duckdb.connect()
        self.database.execute("CREATE SCHEMA npq; SET TimeZone = 'UTC'")
        self.descriptions: dict[str, str] = {}
        self.jobs: dict[str, FakeJob] = {}
        self.sent: list[tuple[str, dict[str, Any], str]] = []
        self.calls = 0
        self.fail_at: int | None = None
        self.after_effect = False
        self.stays_dead = True
        self.error: Callable[[], Exception] = lambda: ServerError("the connection is broken")
        self.before_script: Callable[[], object] = lambda: None

    def modules(self) -> dict[str, types.ModuleType]:
        """The modules of the client's library, for `sys.modules`."""
        configuration = types.SimpleNamespace(from_api_repr=lambda resource: resource)
        members: dict[str, dict[str, Any]] = {
            "google.cloud.bigquery": {
                "Client": lambda **given: FakeClient(self, **given),
                "QueryJobConfig": configuration,
                "LoadJobConfig": configuration,
            },
            "google.api_core.exceptions": {
                kind.__name__: kind for kind in (GoogleAPIError, NotFound, Conflict, ServerError)
            },
            "google.auth.exceptions": {"GoogleAuthError": GoogleAuthError},
            "requests.exceptions": {"RequestException": RequestException},
        }
        modules: dict[str, types.ModuleType] = {}
        for path, content in members.items():
            names = path.split(".")
            for end in range(1, len(names) + 1):
                name = ".".join(names[:end])
                module = modules.setdefault(name, types.ModuleType(name))
                if end > 1:
                    setattr(modules[".".join(names[: end - 1])], names[end - 1], module)
            modules[path].__dict__.update(content)
        return modules

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What somebody else reads."""
        found = self.database.cursor().execute(sql).to_arrow_table()
        return [tuple(row.values()) for row in found.to_pylist()]

    def tables(self) -> set[str]:
        """The names of all tables."""
        return {name for (name,) in self.rows("SELECT table_name FROM duckdb_tables()")}


class FakeJob:
    """A job, whose statements have run or failed."""

    def __init__(self, client: FakeClient, rows: list[tuple[Any, ...]], error: Exception | None = None) -> None:
        self.client = client
        self._rows = rows
        self._error = error

    def result(self) -> list[dict[str, Any]]:
        def answer() -> list[dict[str, Any]]:
            if self._error is not None:
                raise self._error
            return [dict(enumerate(row)) for row in self._rows]  # type: ignore[misc]

        return self.client.call(answer)


class FakeClient:
    """A client with the methods that a load uses."""

    def __init__(self, server: FakeBigQuery, *, project: str, location: str | None) -> None:
        self._server = server
        self._dead = False
        assert (project, location) in (("acme", None), ("acme", "EU"))

    def get_dataset(self, path: str, *, timeout: float) -> Any:
        def answer() -> Any:
            if path != "acme.npq":
                raise NotFound("Not found: Dataset")
            return types.SimpleNamespace(location="EU")

        return self.call(answer)

    def get_table(self, path: str, *, timeout: float) -> Any:
        return self.call(lambda: self._described(path.split(".")[2]))

    def delete_table(self, path: str, *, not_found_ok: bool, timeout: float) -> None:
        assert not_found_ok
        name = path.split(".")[2]
        self.call(lambda: self._server.database.execute(f'DROP TABLE IF EXISTS npq."{name}"'))

    def get_job(self, job_id: str, *, location: str, timeout: float) -> FakeJob:
        def answer() -> FakeJob:
            job = self._server.jobs[job_id]
            job.client = self
            return job

        return self.call(answer)

    def close(self) -> None:
        self._dead = True

    def query(
        self, sql: str, *, job_id: str, location: str, job_config: dict[str, Any], timeout: float, job_retry: None
    ) -> FakeJob:
        given = job_config["query"].get("queryParameters", [])
        parameters = {
            entry["name"]: int(value) if entry["parameterType"]["type"] == "INT64" else value
            for entry in given
            for value in [entry["parameterValue"]["value"]]
        }
        if sql.startswith("DECLARE"):
            self._server.before_script()
        return self._submit(job_id, location, job_config, sql, lambda: self._run(sql, parameters))

    def load_table_from_file(
        self,
        file: IO[bytes],
        path: str,
        *,
        rewind: bool,
        job_id: str,
        location: str,
        job_config: dict[str, Any],
        timeout: float,
    ) -> FakeJob:
        assert rewind
        file.seek(0)
        table = pq.read_table(file)

        def load() -> list[tuple[Any, ...]]:
            own = self._server.database.cursor()
            own.register("incoming", table)
            own.execute(f'INSERT INTO npq."{path.split(".")[2]}" SELECT * FROM incoming')
            return []

        return self._submit(job_id, location, job_config, path, load)

    def call(self, effect: Callable[[], Any]) -> Any:
        """A call, which may be the one that fails."""
        server = self._server
        if self._dead:
            raise ServerError("the client is closed")
        server.calls += 1
        if server.calls != server.fail_at:
            return effect()
        if server.after_effect:
            effect()
        self._dead = server.stays_dead
        raise server.error()

    def _submit(
        self, job_id: str, location: str, configuration: dict[str, Any], what: str, effect: Callable[[], Any]
    ) -> FakeJob:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", job_id)
        assert location == "EU"

        def submit() -> FakeJob:
            if job_id in self._server.jobs:
                raise Conflict("Already Exists: Job")
            self._server.sent.append((job_id, configuration, what))
            try:
                job = FakeJob(self, effect())
            except (duckdb.Error, GoogleAPIError) as error:
                job = FakeJob(self, [], error if isinstance(error, GoogleAPIError) else BadRequest(str(error)))
            self._server.jobs[job_id] = job
            return job

        return self.call(submit)

    def _run(self, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        session = self._server.database.cursor()
        session.execute("SET TimeZone = 'UTC'")
        if not sql.startswith("DECLARE"):
            return self._execute(session, sql, parameters)
        variables: dict[str, int] = {}
        result: list[tuple[Any, ...]] = []
        try:
            for line in sql.split(";\n")[1:-1]:
                if assigned := re.fullmatch(r"SET (\w+) = @@row_count", line):
                    variables[assigned[1]] = result[0][0]
                elif asserted := re.fullmatch(r"ASSERT (.*) AS '(.*)'", line):
                    ((holds,),) = self._execute(session, f"SELECT {asserted[1]}", parameters)
                    if not holds:
                        raise BadRequest(f"Assertion failed: {asserted[2]}")
                else:
                    text = re.sub(r"\bchanged_\d+\b", lambda found: str(variables[found[0]]), line)
                    result = self._execute(session, text, parameters)
        finally:
            # A script that ends within a transaction takes it back.
            session.close()
        return result

    def _execute(self, session: Any, sql: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        described = re.search(rf"{_QUOTED} (?:\(.*\)|SET) OPTIONS \(description = '(.*?)'\)$", sql, re.DOTALL)
        if described is not None:
            self._server.descriptions[re.findall(_QUOTED, sql)[2]] = described[2]
            if sql.startswith("ALTER"):
                return []
        text = _translated(sql)
        used = {name: value for name, value in parameters.items() if f"${name}" in re.findall(r"\$\w+", text)}
        found = session.execute(text, used)
        # DuckDB's own rows have instants only where another package is installed.
        columns = found.to_arrow_table().columns if found.description else []
        return list(zip(*(column.to_pylist() for column in columns), strict=True))

    def _described(self, name: str) -> Any:
        session = self._server.database.cursor()
        columns = session.execute(
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns()"
            " WHERE schema_name = 'npq' AND table_name = ? ORDER BY column_index",
            [name],
        ).fetchall()
        if not columns:
            raise NotFound("Not found: Table")
        key = session.execute(
            "SELECT constraint_column_names FROM duckdb_constraints()"
            " WHERE schema_name = 'npq' AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
            [name],
        ).fetchone()
        ((rows,),) = session.execute(f'SELECT COUNT(*) FROM npq."{name}"').fetchall()
        return types.SimpleNamespace(
            schema=[
                types.SimpleNamespace(
                    name=column, field_type=_CATALOGUE.get(type_, type_), mode="NULLABLE" if nullable else "REQUIRED"
                )
                for column, type_, nullable in columns
            ],
            table_type="TABLE",
            table_constraints=types.SimpleNamespace(primary_key=types.SimpleNamespace(columns=key[0])) if key else None,
            description=self._server.descriptions.get(name),
            num_rows=rows,
        )


def _translated(sql: str) -> str:
    """BigQuery's SQL as DuckDB takes it."""
    sql = re.sub(r" OPTIONS \((?:description = '(?:[^'\\]|\\.)*'|expiration_timestamp = .*)\)", "", sql)
    sql = sql.replace(" NOT ENFORCED", "").replace("`acme`.", "")
    for type_, known in _TYPES.items():
        sql = re.sub(rf"(?<=[` ]){type_}(?=[ ,)]|$)", known, sql)
    sql = re.sub(_QUOTED, lambda name: '"' + re.sub(r"\\(.)", r"\1", name[1]).replace('"', '""') + '"', sql)
    return re.sub(r"(?<!@)@(\w+)", r"$\1", sql)
