"""Loads into SQL Server by their flow: in which order things are sent, and what is left when any of it fails.

The server is a stand-in behind the driver's interface; no load was run against a real one.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bulk_export.destinations import sqlserver as destination
from bulk_export.destinations.address import Address, parse_address
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.load import load as load_options
from bulk_export.pipelines.load_options import LoadOptions
from tests.support import fake_sqlserver
from tests.support.fake_sqlserver import FakeServer
from tests.support.finished_exports import INSTANT, exported_table, write_export

# Takes long; with what is tested against other databases.
pytestmark = pytest.mark.integration

FIELDS = (
    pa.field("name", pa.string()),
    pa.field("funded", pa.bool_()),
    pa.field("amount", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("born", pa.date32()),
    pa.field("created_at", INSTANT),
    pa.field("enrolments", pa.list_(pa.struct([("course", pa.string())]))),
)
AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def row(id_: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "type": "thing",
        "name": f"n{id_}",
        "funded": True,
        "amount": 2**62,
        "share": 0.5,
        "born": date(2000, 1, 2),
        "created_at": AT,
        "enrolments": [{"course": "x"}],
        "_extra": '{"a":1.0}',
    } | changes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """A stand-in for a server, in place of the driver."""
    fake = FakeServer()
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


def load(directory: Path, **options: Any) -> Any:
    given = {"to": "mssql://reader@db.example/npq"} | options
    return load_options(LoadOptions.of(directory, environ={}, **given), pause=lambda _: None)


def exports(directory: Path) -> tuple[Path, Path]:
    """Two exports of the same endpoint: rows that stay, change, go and come."""
    old = [row("1"), row("2"), row("3")]
    new = [row("1"), row("2", name=None, born=None), row("4")]
    return tuple(  # type: ignore[return-value]
        write_export(directory / name, {"things": exported_table(rows, *FIELDS)}, parts=2)
        for name, rows in (("old", old), ("new", new))
    )


def held(server: FakeServer, table: str = "dbo.things") -> list[tuple[Any, ...]]:
    return server.rows(f"SELECT * FROM {table} ORDER BY 1, 2") if server.tables() & {"things"} else []


def test_replaces_rows(server: FakeServer, tmp_path: Path) -> None:
    """Rows arrive typed, and a second export changes only what differs."""
    old, new = exports(tmp_path)
    load(old)
    assert held(server)[0] == (
        "1",
        "thing",
        "n1",
        True,
        2**62,
        0.5,
        date(2000, 1, 2),
        AT,
        '[{"course":"x"}]',
        '{"a":1.0}',
    )
    (changed,) = load(new).tables
    assert (changed.inserted, changed.updated, changed.deleted) == (1, 1, 1)
    assert [line[:3] for line in held(server)] == [("1", "thing", "n1"), ("2", "thing", None), ("4", "thing", "n4")]
    assert load(new).tables[0].action == "skip"
    assert server.tables() == {"things", "_bulk_export_loads"}
    assert server.holder is None


@pytest.mark.usefixtures("server")
def test_any_failure(tmp_path: Path) -> None:
    """Whichever call fails, the next attempt brings all new rows, once, and no staging table is left."""
    old, new = exports(tmp_path)

    def disturbed(step: int, *, after_effect: bool = False) -> int:
        fresh = FakeServer()
        # The module that is imported instead of the driver.
        sys.modules["mssql_python"].__dict__["connect"] = fresh.connect
        load(old)
        fresh.calls, fresh.fail_at, fresh.after_effect = 0, step, after_effect
        load(new)
        assert [line[0] for line in held(fresh)] == ["1", "2", "4"], step
        assert fresh.tables() == {"things", "_bulk_export_loads"}, step
        assert len(fresh.rows("SELECT 1 FROM dbo._bulk_export_loads")) == 2, step
        return fresh.calls

    calls = disturbed(0)
    for step in range(1, calls + 1):
        disturbed(step)
    # The commit and what surrounds it may take effect without an answer.
    for step in range(calls - 5, calls + 1):
        disturbed(step, after_effect=True)


def test_child_tables(server: FakeServer, tmp_path: Path) -> None:
    """Lists of objects become a table of their own; appended rows have the id of their load."""
    old, new = exports(tmp_path)
    load(old, nested="child-tables", mode="append", schema="dfe")
    load(new, nested="child-tables", mode="append", schema="dfe")
    query = "SELECT _parent_id, _position, course, COUNT(*) FROM dfe.things_enrolments GROUP BY ALL ORDER BY 1"
    assert server.rows(query) == [("1", 0, "x", 2), ("2", 0, "x", 2), ("3", 0, "x", 1), ("4", 0, "x", 1)]
    assert server.rows("SELECT COUNT(*), COUNT(DISTINCT _load_id) FROM dfe.things") == [(6, 2)]


def test_killed_load_is_cleaned_up(server: FakeServer, tmp_path: Path) -> None:
    """The next load drops the staging tables that a killed one left, and no table of a person."""
    old, new = exports(tmp_path)
    load(old)
    server.database.execute("CREATE TABLE dbo._bulk_export_staged_1_0123456789ab (a INT)")
    server.database.execute("CREATE TABLE dbo._bulk_export_staged_of_mine (a INT)")
    load(new)
    assert server.tables() == {"things", "_bulk_export_loads", "_bulk_export_staged_of_mine"}


def test_failing_in_vain(server: FakeServer, tmp_path: Path) -> None:
    """A server that always fails is given up, and nothing is there."""
    old, _ = exports(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise fake_sqlserver.OperationalError("TCP Provider: Error code 0x2749")

    sys.modules["mssql_python"].__dict__["connect"] = refuse
    with pytest.raises(ServiceFailing, match="no connection"):
        load(old)
    assert server.tables() == set()


def test_second_load_is_refused(server: FakeServer, tmp_path: Path) -> None:
    """A load that another keeps waiting for too long gives up."""
    server.holder = server.connect("", autocommit=True)
    with pytest.raises(UsageError, match="Another load"):
        load(exports(tmp_path)[0])
    assert server.tables() == set()


def test_lost_lock(server: FakeServer, tmp_path: Path) -> None:
    """A load whose lock is gone when it wants to publish starts again."""
    old, new = exports(tmp_path)
    load(old)

    copy = fake_sqlserver.FakeConnection.bulkcopy_arrow
    lost: list[bool] = []

    def copy_and_lose(self: Any, *given: Any, **options: Any) -> Any:
        done = copy(self, *given, **options)
        if not lost:
            lost.append(True)
            server.holder = None
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_sqlserver.FakeConnection, "bulkcopy_arrow", copy_and_lose)
        load(new)
    assert len(server.connections) == 3
    assert [line[0] for line in held(server)] == ["1", "2", "4"]


def test_short_copy(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bulk copy that loses rows in silence is noticed."""
    monkeypatch.setattr(
        fake_sqlserver.FakeConnection, "bulkcopy_arrow", lambda _self, _table, reader, **_: list(reader)
    )
    with pytest.raises(ServiceFailing, match="Of 3 rows the destination has 0"):
        load(exports(tmp_path)[0])


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("Login failed for user 'reader'.", ServiceRefused, 3),
        ('Cannot open database "npq" requested by the login.', ServiceRefused, 3),
        ("CREATE TABLE permission denied in database 'npq'.", ServiceRefused, 3),
        ("Lock request time out period exceeded.", UsageError, 2),
        ("Could not allocate space for object 'dbo.things'", LocalFailure, 5),
        ("String or binary data would be truncated. Truncated value: 'personal'.", UsageError, 2),
        ("TCP Provider: Error code 0x68", ServiceFailing, 4),
    ],
)
def test_errors(server: FakeServer, tmp_path: Path, text: str, kind: type[BulkExportError], code: int) -> None:
    """Each failure becomes an error of this package, which holds neither a value nor the password."""
    directory = exports(tmp_path)[0]
    server.error = lambda: fake_sqlserver.OperationalError(text)
    for step in (3, 12):
        server.calls, server.fail_at = 0, step
        options = LoadOptions.of(directory, environ={"TO": "mssql://reader:geheim@db.example/npq"}, to="env:TO")
        with pytest.raises(kind) as caught:
            attempt(options.address)
        assert caught.value.exit_code == code
        said = f"{caught.value} {caught.value.kept} {caught.value.next_step}"
        assert not any(secret in said for secret in ("personal", "geheim", "reader"))


def attempt(address: Address) -> None:
    """A few calls, of which one fails."""
    with destination.connect(address) as connected:
        connected.begin()
        for _ in range(12):
            connected.recorded_loads()


def test_login() -> None:
    """Without a password the driver logs in through Entra ID; no value leaves its place."""
    assert destination.connection_string(parse_address("mssql://db.example/npq", {})).endswith(
        "Authentication={ActiveDirectoryDefault}"
    )
    hostile = Address("mssql", "db.example", 1444, "u};PWD=x", "npq", password="p}{;Encrypt=no")
    assert destination.connection_string(hostile) == (
        "Server={tcp:db.example,1444};Database={npq};Encrypt={yes};UID={u}};PWD=x};PWD={p}}{;Encrypt=no}"
    )
    for wrong in ("mssql://db.example", "mssql:///npq", "mssql://db.example/npq?driver=x"):
        with pytest.raises(UsageError):
            destination.connection_string(parse_address(wrong, {}))


def test_driver_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install the driver."""
    monkeypatch.setitem(sys.modules, "mssql_python", None)
    with pytest.raises(UsageError) as caught:
        load(exports(tmp_path)[0])
    assert "bulk-export[mssql]" in str(caught.value.next_step)


def test_descriptions(server: FakeServer, tmp_path: Path) -> None:
    """A new table says where its rows come from, and records what was loaded."""
    load(exports(tmp_path)[0], schema="dfe")
    assert any("@level2name = N'enrolments'" in text and "N'enrolments: JSON'" in text for text in server.descriptions)
    ((columns, rows),) = server.rows("SELECT columns, rows FROM dfe._bulk_export_loads")
    assert (json.loads(columns)[0], rows) == ("id", 3)
