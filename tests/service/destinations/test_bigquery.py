"""Loads into BigQuery by their flow: which jobs are sent in which order, and what is left when any call fails.

The service is a stand-in behind the client's methods; no load was run against BigQuery or an emulator of it.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bulk_export.destinations import staged_files
from bulk_export.destinations.address import parse_address
from bulk_export.destinations.bigquery import connect, place
from bulk_export.destinations.bigquery_dialect import BigQueryDialect, load_configuration, query_configuration
from bulk_export.destinations.tables import Column
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.pipelines.load import load as load_options
from bulk_export.pipelines.load_options import LoadOptions
from tests.support import fake_bigquery
from tests.support.fake_bigquery import FakeBigQuery
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
    pa.field("parts", pa.list_(pa.string())),
)
AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
DIGITS = '{"a":1234567890123456789012345678901234567890.10,"b":"\\ud800"}'
KEPT = {"things", "_bulk_export_loads", "_bulk_export_lock"}


def row(id_: str, **changes: Any) -> dict[str, Any]:
    values = ("thing", f"n{id_}", True, 2**62, 0.5, date(2000, 1, 2), AT, ["x", None], DIGITS)
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


def installed(monkeypatch: pytest.MonkeyPatch) -> FakeBigQuery:
    fake = FakeBigQuery()
    for name, module in fake.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeBigQuery:
    """A stand-in for the service, in place of the client's library."""
    return installed(monkeypatch)


def load(directory: Path, **options: Any) -> Any:
    given = {"to": "bigquery://acme/npq"} | options
    return load_options(LoadOptions.of(directory, environ={}, **given), pause=lambda _: None)


def test_replaces_rows(server: FakeBigQuery, tmp_path: Path) -> None:
    """Rows arrive typed, a second export changes only what differs, and a repeated one nothing."""
    old, new = exports(tmp_path)
    load(old)
    (first, *_) = server.rows("SELECT * FROM npq.things ORDER BY id")
    assert first == ("1", "thing", "n1", True, 2**62, 0.5, date(2000, 1, 2), AT, '["x",null]', DIGITS)
    assert server.descriptions["things"].startswith("things of npq")
    (changed,) = load(new).tables
    assert (changed.inserted, changed.updated, changed.deleted) == (1, 1, 1)
    assert server.rows("SELECT id, name, parts FROM npq.things WHERE id <> '1' ORDER BY id") == [
        ("2", None, None),
        ("4", "n4", "[]"),
    ]
    assert server.rows("SELECT inserted, updated, deleted FROM npq._bulk_export_loads ORDER BY finished_at") == [
        (3, 0, 0),
        (1, 1, 1),
    ]
    assert load(new).tables[0].action == "skip"
    assert server.tables() == KEPT


@pytest.mark.parametrize(("after_effect", "stays_dead"), [(False, True), (True, False)])
def test_any_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_effect: bool, stays_dead: bool) -> None:
    """Whichever call fails, before or after its effect, all new rows are there in the end, once."""
    old, new = exports(tmp_path)
    fresh = installed(monkeypatch)
    load(old)
    fresh.calls = 0
    load(new)
    calls = fresh.calls
    assert calls > 20
    for step in range(1, calls + 1):
        fresh = installed(monkeypatch)
        load(old)
        fresh.calls, fresh.fail_at, fresh.after_effect, fresh.stays_dead = 0, step, after_effect, stays_dead
        load(new)
        assert fresh.rows("SELECT id FROM npq.things ORDER BY id") == [("1",), ("2",), ("4",)], step
        assert fresh.rows("SELECT COUNT(*) FROM npq._bulk_export_loads") == [(2,)], step
        left = fresh.tables() - KEPT
        assert all(name.startswith("_bulk_export_staged_1_") for name in left), step


def test_first_load_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that a failed load defined and left empty is taken by the next attempt."""
    old, _ = exports(tmp_path)
    fresh = installed(monkeypatch)
    load(old)
    for step in range(1, fresh.calls + 1):
        fresh = installed(monkeypatch)
        fresh.fail_at = step
        load(old)
        assert fresh.rows("SELECT id FROM npq.things ORDER BY id") == [("1",), ("2",), ("3",)], step
        assert fresh.rows("SELECT COUNT(*) FROM npq._bulk_export_loads") == [(1,)], step


def test_job_is_sent_once(server: FakeBigQuery, tmp_path: Path) -> None:
    """A job that arrived without an answer is sent again under its id, and waited for."""
    old, _ = exports(tmp_path)
    server.after_effect, server.stays_dead = True, False
    server.fail_at = 3
    load(old)
    names = [name for name, _, _ in server.sent]
    assert len(names) == len(set(names))
    assert len({name.split("_")[2] for name in names}) == 1


def test_faster_load(server: FakeBigQuery, tmp_path: Path) -> None:
    """A load that another one overtook starts again, so that the two never mix."""
    old, new = exports(tmp_path)

    def overtake() -> None:
        server.before_script = lambda: None
        load(old)

    server.before_script = overtake
    load(new)
    assert server.rows("SELECT id FROM npq.things ORDER BY id") == [("1",), ("2",), ("4",)]
    assert server.rows("SELECT COUNT(*) FROM npq._bulk_export_loads") == [(2,)]


def test_several_files(server: FakeBigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows beyond one file's are sent by further jobs, whose files nobody else may read."""
    monkeypatch.setattr(staged_files, "_ROWS_PER_FILE", 1)
    load(exports(tmp_path)[0])
    assert server.rows("SELECT COUNT(*) FROM npq.things") == [(3,)]
    loads = [configuration for _, configuration, _ in server.sent if "load" in configuration]
    assert len(loads) > 1
    assert loads[0]["load"]["schema"]["fields"][0] == {"name": "id", "type": "STRING", "mode": "REQUIRED"}


def test_child_tables(server: FakeBigQuery, tmp_path: Path) -> None:
    """Lists of objects become a table of their own, and appended rows have the id of their load."""
    field = pa.field("enrolments", pa.list_(pa.struct([("course", pa.string()), ("at", INSTANT)])))
    rows = [{"id": "1", "enrolments": [{"course": "a", "at": AT}, {"course": "b"}]}, {"id": "2", "enrolments": []}]
    directory = write_export(tmp_path / "export", {"things": exported_table(rows, field)})
    load(directory, nested="child-tables", mode="append", to="bigquery://acme?location=EU", schema="npq")
    assert server.rows('SELECT _parent_id, _position, course, "at" FROM npq.things_enrolments') == [
        ("1", 0, "a", AT),
        ("1", 1, "b", None),
    ]


def test_added_column(server: FakeBigQuery, tmp_path: Path) -> None:
    """A column that the table lacks is added before the transaction."""
    load(write_export(tmp_path / "old", {"things": exported_table([{"id": "1"}])}))
    load(write_export(tmp_path / "new", {"things": exported_table([{"id": "1", "name": "a"}], FIELDS[0])}))
    assert server.rows("SELECT name FROM npq.things") == [("a",)]


def test_table_of_a_person(server: FakeBigQuery, tmp_path: Path) -> None:
    """A table that something else made is refused, and so is a name that BigQuery does not take."""
    server.database.execute("CREATE TABLE npq.things (id VARCHAR)")
    with pytest.raises(UsageError, match="did not make"):
        load(exports(tmp_path)[0])
    with pytest.raises(UsageError, match="cannot be the name"):
        load(tmp_path / "old", table_prefix="a/../b?")


def test_full_disk(server: FakeBigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory that cannot be written is a failure of this machine, and nothing is published."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(LocalFailure, match="temporary directory"):
        load(exports(tmp_path)[0])
    assert server.tables() == {"_bulk_export_lock"}


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (fake_bigquery.DefaultCredentialsError("geheim"), ServiceRefused, 3),
        (fake_bigquery.Unauthorized("geheim"), ServiceRefused, 3),
        (fake_bigquery.Forbidden("geheim", "accessDenied"), ServiceRefused, 3),
        (fake_bigquery.Forbidden("geheim", "rateLimitExceeded"), ServiceFailing, 4),
        (fake_bigquery.NotFound("geheim"), UsageError, 2),
        (fake_bigquery.BadRequest("Bad value 'geheim'"), UsageError, 2),
        (fake_bigquery.BadRequest("Transaction is aborted due to concurrent update"), ServiceFailing, 4),
        (fake_bigquery.GoogleAuthError("geheim"), ServiceFailing, 4),
        (fake_bigquery.RequestException("geheim"), ServiceFailing, 4),
        (TimeoutError("geheim"), ServiceFailing, 4),
    ],
)
def test_errors(server: FakeBigQuery, error: Exception, kind: type[BulkExportError], code: int) -> None:
    """Each failure becomes an error of this package, which holds no value."""
    server.fail_at, server.error = 1, lambda: error
    with pytest.raises(kind) as caught, connect(parse_address("bigquery://acme/npq", {})) as connected:
        connected.begin()
    assert caught.value.exit_code == code
    assert "geheim" not in f"{caught.value} {caught.value.kept} {caught.value.next_step}"


def test_missing_dataset(server: FakeBigQuery, tmp_path: Path) -> None:
    """A dataset is not made, since nobody said where."""
    with pytest.raises(UsageError, match="There is no bigquery://acme/other"):
        load(exports(tmp_path)[0], to="bigquery://acme/other")
    assert server.sent == []


def test_address() -> None:
    """An address names a project and one dataset, and no user."""
    assert place(parse_address("bigquery://acme/npq?location=EU", {})) == ("acme", "npq", "EU")
    assert place(parse_address("bigquery://acme", {}, schema="npq")) == ("acme", "npq", None)
    for wrong in ("bigquery://acme", "bigquery:///npq", "bigquery://a/b/c", "bigquery://u@a/b", "bigquery://a/b?x=1"):
        with pytest.raises(UsageError):
            place(parse_address(wrong, {}))
    with pytest.raises(UsageError, match="two datasets"):
        place(parse_address("bigquery://acme/npq", {}, schema="dfe"))


def test_driver_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install the client."""
    monkeypatch.setitem(sys.modules, "google.api_core", None)
    with pytest.raises(UsageError) as caught:
        load(exports(tmp_path)[0])
    assert "bulk-export[bigquery]" in str(caught.value.next_step)


@pytest.mark.integration
def test_client() -> None:
    """The client itself has the methods of the stand-in, with their parameters, and keeps the jobs' configurations."""
    bigquery = pytest.importorskip("google.cloud.bigquery", reason="google-cloud-bigquery is not installed")
    for name in ("get_dataset", "get_table", "delete_table", "get_job", "query", "load_table_from_file"):
        own = inspect.signature(getattr(fake_bigquery.FakeClient, name)).parameters.values()
        known = inspect.signature(getattr(bigquery.Client, name)).parameters
        assert {parameter.name for parameter in own if parameter.kind is parameter.KEYWORD_ONLY} <= set(known), name
    columns = [Column("id", pa.string(), nullable=False)]
    loading = load_configuration(columns, BigQueryDialect("acme", "npq", "5ffe"))
    assert bigquery.LoadJobConfig.from_api_repr(loading).to_api_repr() == loading
    asking = query_configuration({"rows": 3, "at": AT})
    assert bigquery.QueryJobConfig.from_api_repr(asking).to_api_repr() == asking
