"""Loads into an emulator of Snowflake (fakesnow): typed, exactly once, and the same after any failure.

No load was run against Snowflake itself. The emulator cannot copy into temporary tables: these tests stage in others.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bulk_export.destinations import snowflake as destination
from bulk_export.destinations import staged_files
from bulk_export.destinations.address import parse_address
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.load import load as load_options
from bulk_export.pipelines.load_options import LoadOptions
from tests.support.finished_exports import INSTANT, exported_table, write_export

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
fakesnow = pytest.importorskip("fakesnow", reason="fakesnow is not installed (make test-snowflake)")
connector = pytest.importorskip("snowflake.connector")

FIELDS = (
    pa.field("name", pa.string()),
    pa.field("funded", pa.bool_()),
    pa.field("amount", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("born", pa.date32()),
    pa.field("created_at", INSTANT),
    pa.field("parts", pa.list_(pa.string())),
)
AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
DIGITS = '{"a":1234567890123456789012345678901234567890.10,"b":"\\ud800"}'


def row(id_: str, **changes: Any) -> dict[str, Any]:
    values = ("thing", f"n{id_}", True, 2**62, 0.5, date(2000, 1, 2), AT, ["x", 'y"'], DIGITS)
    names = ("type", "name", "funded", "amount", "share", "born", "created_at", "parts", "_extra")
    return {"id": id_} | dict(zip(names, values, strict=True)) | changes


def exports(directory: Path) -> tuple[Path, Path]:
    """Two exports of the same endpoint: rows that stay, change, go and come."""
    old = [row("1"), row("2"), row("3")]
    new = [row("1"), row("2", name=None, parts=None), row("4", parts=[])]
    return (
        write_export(directory / "old", {"things": exported_table(old, *FIELDS)}, parts=2),
        write_export(directory / "new", {"things": exported_table(new, *FIELDS)}, parts=2),
    )


class Flaky:
    """A connection of which the n-th statement fails, and with it the session."""

    def __init__(self, connection: Any, state: dict[str, int]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._state = state
        self._dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def cursor(self) -> Flaky:
        return self

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()

    def execute(self, sql: str, parameters: Any = None) -> None:
        self._state["calls"] += 1
        if self._dead or self._state["calls"] == self._state["fail_at"]:
            self._dead = True
            raise connector.errors.OperationalError("the session is gone")
        self._cursor.execute(sql, parameters)


class Account:
    """An account of the emulator with an empty database."""

    def __init__(self) -> None:
        self.state = {"calls": 0, "fail_at": 0}
        self.connect = connector.connect
        self.connect(database="NPQ", schema="PUBLIC").close()

    def connected(self, **arguments: Any) -> Flaky:
        arguments.pop("connection_name")
        return Flaky(self.connect(schema="PUBLIC", **arguments), self.state)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect(database="NPQ", schema="PUBLIC") as session:
            return list(session.cursor().execute(sql).fetchall())


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    """An emulated account, in place of Snowflake."""
    monkeypatch.setattr(destination, "_STAGING", "TRANSIENT")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with fakesnow.patch():
        account = Account()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connector, "connect", account.connected)
            yield account
    assert not [path for path in (tmp_path / "temporary").iterdir() if path.name.startswith("bulk-export-")]


def load(directory: Path, **options: Any) -> Any:
    given = {"to": "snowflake://acme/NPQ"} | options
    return load_options(LoadOptions.of(directory, environ={}, **given), pause=lambda _: None)


def test_replaces_rows(account: Account, tmp_path: Path) -> None:
    """Rows arrive typed, a second export changes only what differs, and a repeated one nothing."""
    old, new = exports(tmp_path)
    load(old)
    (first, *_) = account.rows("SELECT * FROM things ORDER BY id")
    assert first[:8] == ("1", "thing", "n1", True, 2**62, 0.5, date(2000, 1, 2), AT)
    assert (json.loads(first[8]), first[9]) == (["x", 'y"'], DIGITS)
    (changed,) = load(new).tables
    assert (changed.inserted, changed.updated, changed.deleted) == (1, 1, 1)
    assert account.rows("SELECT id, name, parts FROM things WHERE id <> '1' ORDER BY id") == [
        ("2", None, None),
        ("4", "n4", "[]"),
    ]
    assert load(new).tables[0].action == "skip"


def test_any_failure(account: Account, tmp_path: Path) -> None:
    """Whichever statement fails, the next attempt brings all rows, once, into tables that are new or not."""
    old, new = exports(tmp_path)
    load(old, table_prefix="count_")
    calls = account.state["calls"]
    for step in range(1, calls + 1):
        prefix = f"t{step}_"
        account.state.update(calls=0, fail_at=step)
        load(old, table_prefix=prefix)
        assert account.rows(f"SELECT id FROM {prefix}things ORDER BY id") == [("1",), ("2",), ("3",)], step
        # Until the rows are staged, the second load differs from the first in nothing that matters here.
        account.state.update(calls=0, fail_at=step if step > calls // 2 else 0)
        load(new, table_prefix=prefix)
        assert account.rows(f"SELECT id FROM {prefix}things ORDER BY id") == [("1",), ("2",), ("4",)], step
        recorded = account.rows(f"SELECT 1 FROM _bulk_export_loads WHERE table_name = '{prefix.upper()}THINGS'")
        assert len(recorded) == 2, step
    assert calls > 15


def test_faster_load(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that another one overtook starts again, so that the two never mix."""
    old, new = exports(tmp_path)
    stage = destination.SnowflakeDestination.stage
    overtaken: list[int] = []

    def staged(self: Any, *given: Any) -> int:
        count = stage(self, *given)
        if not overtaken:
            overtaken.append(1)
            load(old)
        return count

    monkeypatch.setattr(destination.SnowflakeDestination, "stage", staged)
    load(new)
    assert account.rows("SELECT id FROM things ORDER BY id") == [("1",), ("2",), ("4",)]
    assert account.rows("SELECT COUNT(*) FROM _bulk_export_loads") == [(2,)]


def test_several_files(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond one file's are sent in further ones."""
    monkeypatch.setattr(staged_files, "_ROWS_PER_FILE", 1)
    load(exports(tmp_path)[0])
    assert account.rows("SELECT COUNT(*) FROM things") == [(3,)]


def test_child_tables(account: Account, tmp_path: Path) -> None:
    """Lists of objects become a table of their own, and appended rows have the id of their load."""
    field = pa.field("enrolments", pa.list_(pa.struct([("course", pa.string()), ("at", INSTANT)])))
    rows = [{"id": "1", "enrolments": [{"course": "a", "at": AT}, {"course": "b"}]}, {"id": "2", "enrolments": []}]
    directory = write_export(tmp_path / "export", {"things": exported_table(rows, field)})
    load(directory, nested="child-tables", mode="append", schema="dfe")
    assert account.rows('SELECT _parent_id, _position, course, "AT" FROM "dfe".things_enrolments') == [
        ("1", 0, "a", AT),
        ("1", 1, "b", None),
    ]
    ((load_id,),) = account.rows('SELECT DISTINCT _load_id FROM "dfe".things')
    assert load_id.startswith("20")


def test_full_disk(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory that cannot be written is a failure of this machine, and nothing is published."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(LocalFailure, match="temporary directory"):
        load(exports(tmp_path)[0])
    assert "THINGS" not in {name for (name,) in account.rows("SELECT table_name FROM information_schema.tables")}


def test_table_of_a_person(account: Account, tmp_path: Path) -> None:
    """A table that something else made is refused."""
    account.rows("CREATE TABLE things (id VARCHAR)")
    with pytest.raises(UsageError, match="did not make"):
        load(exports(tmp_path)[0])


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("DatabaseError", 390100, ServiceRefused),
        ("ProgrammingError", 3001, ServiceRefused),
        ("ProgrammingError", 625, UsageError),
        ("ProgrammingError", 100078, UsageError),
        ("OperationalError", 250001, ServiceFailing),
    ],
)
def test_errors(monkeypatch: pytest.MonkeyPatch, name: str, number: int, kind: type[BulkExportError]) -> None:
    """Each failure becomes an error of this package, which holds neither a value nor the password."""

    def refuse(**_: Any) -> None:
        raise getattr(connector.errors, name)(msg="geheim 'personal'", errno=number)

    monkeypatch.setattr(connector, "connect", refuse)
    address = parse_address("snowflake://ann@acme/NPQ", {}, password="geheim")
    with pytest.raises(kind) as caught, destination.connect(address):
        pass
    said = f"{caught.value} {caught.value.kept} {caught.value.next_step}"
    assert not any(secret in said for secret in ("personal", "geheim", "ann@"))
