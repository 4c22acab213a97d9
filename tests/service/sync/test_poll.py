"""A copy that is kept current from a service over HTTP."""

from __future__ import annotations

import itertools
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import duckdb
import polars
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from deltalake import DeltaTable

from bulk_export.errors import DamagedState, Interrupted, LocalFailure, ServiceFailing, ServiceRefused, UsageError
from bulk_export.output.directory import locked_directory
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import PollSummary, SyncSummary
from bulk_export.progress.observer import Observer
from bulk_export.services.local import LocalService, serving
from tests.support import exporting
from tests.support.exporting import FREE, NPQ, TOKEN
from tests.support.restore import canonical, restore
from tests.support.web_server import web_server

NAME, WHOLE = "participants-npq", "delivery-partners"
BEGAN = datetime(2025, 6, 2, 12, 10, 7, 500_000, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Copy:
    """A service and a copy of it, both by a clock that the test moves."""

    def __init__(self, service: LocalService, directory: Path, clock: list[datetime]) -> None:
        self.service = service
        self.directory = directory
        self._clock = clock

    @property
    def now(self) -> datetime:
        return self._clock[0]

    def later(self, by: timedelta = HOUR) -> None:
        self._clock[0] += by

    def options(self, *endpoints: str, **changes: Any) -> SyncOptions:
        return SyncOptions.of(
            endpoints or (NAME, WHOLE),
            **{
                "service": NPQ,
                "base_url": self.service.base_url,
                "token": TOKEN,
                "output": self.directory,
                "retries": 0,
                **FREE,
            }
            | changes,
        )

    async def sync(
        self, *endpoints: str, observer: Observer | None = None, stop: anyio.Event | None = None, **changes: Any
    ) -> SyncSummary:
        chosen = self.options(*endpoints, **changes)
        return await sync_once(chosen, observer, stop=stop, clock=lambda: self.now)

    async def poll(self, *endpoints: str, **changes: Any) -> PollSummary:
        (poll,) = (await self.sync(*endpoints, **changes)).polls
        return poll

    def rows(self, name: str = NAME) -> list[dict[str, Any]]:
        if (self.directory / name / "_delta_log").exists():
            return polars.read_delta(str(self.directory / name)).to_arrow().to_pylist()
        return pq.read_table(self.directory / name).to_pylist()

    def assert_current(self, name: str = NAME) -> None:
        """Every record of the service is in the copy as it is, and nothing else but what is marked."""
        shown = {row["id"]: row for row in self.rows(name) if row["_removed_at"] is None}
        truth = {record["id"]: record for record in self.service.truth(name)}
        assert shown.keys() == truth.keys()
        for identity, row in shown.items():
            record = {column: value for column, value in row.items() if column not in ("_synced_at", "_removed_at")}
            assert canonical(restore(record)) == canonical(truth[identity])

    def version(self, name: str = NAME) -> int:
        return DeltaTable(self.directory / name).version()

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "sync-log.jsonl").read_text().splitlines()]


@asynccontextmanager
async def copying(directory: Path, *, skew: timedelta = timedelta(0), **changes: Any) -> AsyncIterator[Copy]:
    clock = [BEGAN]
    counts = {NAME: 250, WHOLE: 30}
    chosen = {"records_by_endpoint": counts, "clock": lambda: (clock[0] + skew).timestamp()} | changes
    async with serving(exporting.settings(**chosen)) as service:
        yield Copy(service, directory, clock)


def failing_from(number: int) -> Callable[[LocalService, Any], None]:
    """From the given request on, the service answers with errors."""
    seen = itertools.count(1)

    def before(service: LocalService, _: object) -> None:
        if next(seen) >= number:
            service.settings = replace(service.settings, error_rate=1.0)

    return before


def counts(poll: PollSummary, name: str = NAME) -> tuple[int, ...]:
    found = poll.tables[name].counts
    return found.fetched, found.inserted, found.updated, found.unchanged, found.removed


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_full_then_changes_then_full(tmp_path: Path, format_: str) -> None:
    """The first poll fetches everything, then come changes, then everything again."""
    async with copying(tmp_path / "copy") as it:
        first = await it.poll(format=format_)
        assert (first.kind, first.number, counts(first), counts(first, WHOLE)) == (
            "full",
            1,
            (250, 250, 0, 0, 0),
            (30, 30, 0, 0, 0),
        )
        it.assert_current()

        it.later()
        touched = it.service.touch(NAME, 17)
        it.service.append(NAME, 2)
        gone = it.service.remove(NAME, 3)
        second = await it.poll(format=format_)
        assert (second.kind, counts(second), counts(second, WHOLE)) == ("changes", (3, 2, 1, 0, 0), (30, 0, 0, 30, 0))
        rows = {row["id"]: row for row in it.rows()}
        assert len(rows) == 252
        assert rows[touched]["_synced_at"] == BEGAN.replace(microsecond=0) + HOUR
        assert rows[gone]["_removed_at"] is None  # only a full sync can tell

        it.later(7 * DAY)
        third = await it.poll(format=format_)
        assert (third.kind, counts(third)) == ("full", (251, 0, 0, 251, 1))
        assert {row["id"]: row["_removed_at"] for row in it.rows()}[gone] == third.started_at
        it.assert_current()
        it.assert_current(WHOLE)


async def test_poll_asks_from_second_last_start(tmp_path: Path) -> None:
    """A poll asks from the start of the second-last one, with the default page size."""
    async with copying(tmp_path / "copy") as it:
        for _ in range(4):
            await it.poll(NAME)
            it.later()
        asked = [record.query for record in it.service.log if "updated_since" in record.query]
        assert asked == [
            f"page[page]=1&page[per_page]=100&sort=created_at,id&filter[updated_since]={since}"
            # The first has nothing before it to ask from, and takes as long again.
            for since in ("2025-06-02T11:10:07Z", "2025-06-02T12:10:07Z", "2025-06-02T13:10:07Z")
        ]
        assert [poll["endpoints"][NAME]["since"] for poll in it.log()] == [
            None,
            "2025-06-02T11:10:07Z",
            "2025-06-02T12:10:07Z",
            "2025-06-02T13:10:07Z",
        ]


async def test_poll_starts_by_the_clock_of_the_service(tmp_path: Path) -> None:
    """The start of a poll is by the clock of the service."""
    async with copying(tmp_path / "copy", skew=timedelta(minutes=-7)) as it:
        for _ in range(3):
            await it.poll(NAME)
            it.later()
        assert [poll["started_at"] for poll in it.log()] == [f"2025-06-02T{hour}:03:07Z" for hour in (12, 13, 14)]


async def test_quiet_poll_costs_one_request(tmp_path: Path) -> None:
    """A poll without changes costs one request and writes no version."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        it.later()
        poll = await it.poll(NAME)
        assert (poll.requests, counts(poll), it.version()) == (1, (0, 0, 0, 0, 0), 0)
        it.later()
        it.service.touch(NAME, 0)
        await it.poll(NAME)
        assert it.version() == 1
        it.later()
        # Two windows back: the same change is shown again, and is no change of the copy.
        assert (counts(await it.poll(NAME)), it.version()) == ((1, 0, 0, 1, 0), 1)


async def test_changes_on_many_pages(tmp_path: Path) -> None:
    """More changes than a page are read to the end, which one more request proves."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        it.later()
        for position in range(150):
            it.service.touch(NAME, position)
        removed = []

        def vanish(service: LocalService, request: Any) -> None:
            # Between the two pages: what stood first on the second one now stands on the first.
            if request.page == 2 and not removed:
                removed.append(service.remove(NAME, 0))

        it.service.before_request = vanish
        poll = await it.poll(NAME)
        assert (poll.tables[NAME].consistent, counts(poll)[2]) == (True, 149)
        shown = {row["id"]: row for row in it.rows()}
        truth = {record["id"]: record["attributes"]["updated_at"] for record in it.service.truth(NAME)}
        assert all(canonical(shown[identity]["updated_at"]) == canonical(moment) for identity, moment in truth.items())


async def test_history_can_be_read(tmp_path: Path) -> None:
    """Each record can be read as it was at an earlier time."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        identity = it.service.touch(NAME, 5)
        before = {row["id"]: row for row in it.rows()}[identity]
        it.later()
        await it.poll(NAME)
        table = DeltaTable(it.directory / NAME)
        table.load_as_version(0)
        earlier = polars.read_delta(table).to_arrow().to_pylist()
        assert {row["id"]: row for row in earlier}[identity] == before
        assert {row["id"]: row for row in it.rows()}[identity]["updated_at"] != before["updated_at"]


async def test_duckdb_and_polars_read_the_tables_as_they_are(tmp_path: Path) -> None:
    async with copying(tmp_path / "copy") as it:
        await it.poll()
        it.later()
        it.service.touch(NAME, 0)
        await it.poll()
        frame = polars.read_delta(str(it.directory / NAME))
        assert (frame.height, frame.schema["updated_at"]) == (250, polars.Datetime("us", "UTC"))
        dataset = DeltaTable(it.directory / NAME).to_pyarrow_dataset()  # noqa: F841  # DuckDB finds it by its name
        shown = duckdb.connect().execute("SELECT count(*), count(DISTINCT id) FROM dataset").fetchone()
        assert shown == (250, 250)


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_removed_record_is_deleted_and_returns(tmp_path: Path, format_: str) -> None:
    """A removed record is deleted with --removed delete, and can come back."""
    async with copying(tmp_path / "copy") as it:
        chosen: dict[str, Any] = {"format": format_, "removed": "delete"}
        await it.poll(WHOLE, **chosen)
        gone = it.service.remove(WHOLE, 4)
        it.later()
        poll = await it.poll(WHOLE, **chosen)  # it is fetched whole each time, so it shows at once
        assert (poll.kind, counts(poll, WHOLE)) == ("changes", (29, 0, 0, 29, 1))
        assert gone not in {row["id"] for row in it.rows(WHOLE)}
        it.assert_current(WHOLE)


async def test_copy_is_private(tmp_path: Path) -> None:
    """Files and directories are private, and the working state is gone."""
    async with copying(tmp_path / "copy") as it:
        await it.poll()
        it.later()
        it.service.touch(NAME, 0)
        await it.poll(compact=True, vacuum="7d")
        for path in [it.directory, *it.directory.rglob("*")]:
            wanted = 0o700 if path.is_dir() else 0o600
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        assert {path.name for path in it.directory.iterdir()} == {NAME, WHOLE, "sync.json", "sync-log.jsonl"}
        assert TOKEN.encode() not in (it.directory / "sync.json").read_bytes()


async def test_each_poll_leaves_a_record_in_the_log(tmp_path: Path) -> None:
    async with copying(tmp_path / "copy") as it:
        summary = await it.poll(NAME)
        assert summary.line() == (
            "poll 1, full: 4 requests; 250 fetched, 250 inserted, 0 updated, 0 unchanged, 0 removed"
        )
        (entry,) = it.log()
        assert entry == json.loads(json.dumps(summary.to_json()))
        assert (entry["poll"], entry["kind"], entry["fetched"], entry["endpoints"][NAME]["version"]) == (
            1,
            "full",
            250,
            0,
        )


async def test_failed_poll_is_covered_by_the_next(tmp_path: Path) -> None:
    """A poll that fails moves no watermark, and the next one covers it."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        it.later()
        touched = it.service.touch(NAME, 9)
        it.service.settings = replace(it.service.settings, error_rate=1.0)
        with pytest.raises(ServiceFailing):
            await it.poll(NAME)
        it.later(3 * HOUR)
        it.service.settings = replace(it.service.settings, error_rate=0.0)
        late = it.service.touch(NAME, 8)
        # The one that failed goes on, and another one sees what happened since it began.
        resumed, poll = (await it.sync(NAME)).polls
        assert (resumed.number, poll.number, resumed.started_at + 3 * HOUR) == (2, 3, poll.started_at)
        it.assert_current()
        assert {row["id"] for row in it.rows() if row["_synced_at"] > BEGAN} == {touched, late}
        assert [entry["poll"] for entry in it.log()] == [1, 2, 3]


async def test_interrupted_poll_resumes(tmp_path: Path) -> None:
    """An interrupted poll goes on without requesting again what it has."""
    async with copying(tmp_path / "copy", records_by_endpoint={NAME: 2_000}) as it:
        stop = anyio.Event()

        class Stopping(Observer):
            def page_stored(self, endpoint: str, page: int, records: int) -> None:
                if page == 3:
                    stop.set()

        with pytest.raises(Interrupted) as failure:
            await it.sync(NAME, observer=Stopping(), stop=stop, page_size=100, workers=1)
        assert str(it.directory) in failure.value.kept
        assert ".bulk-export" not in failure.value.kept
        before = [record.page for record in it.service.log]
        resumed, _ = (await it.sync(NAME, page_size=100, workers=1)).polls
        assert resumed.kind == "full"
        later = list(it.service.log)[len(before) :]
        again = [one.page for one in later if one.page_size == 100 and "since" not in one.query]
        # But for the empty page behind the last full one, which takes two answers.
        assert set(again) & set(before[:-1]) <= {21}
        it.assert_current()


async def test_interrupted_poll_with_other_parameters(tmp_path: Path) -> None:
    """Pages of an interrupted poll under other parameters are fetched again."""
    async with copying(tmp_path / "copy", records_by_endpoint={NAME: 1_000}) as it:
        it.service.before_request = failing_from(4)
        with pytest.raises(ServiceFailing):
            await it.sync(NAME, page_size=100)
        it.service.before_request = None
        it.service.settings = replace(it.service.settings, error_rate=0.0)
        summary = await it.sync(NAME, page_size=50)
        assert any("fetched again" in remark for remark in summary.remarks)
        it.assert_current()


async def test_other_process_options_or_token(tmp_path: Path) -> None:
    """A second process, other options and another token are refused."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        with locked_directory(it.directory), pytest.raises(UsageError, match="is syncing into"):
            await it.poll(NAME)
        for changes in ({"format": "parquet"}, {"filter": ["updated_since=2020-01-01"]}, {"drop_column": "full_name"}):
            with pytest.raises(UsageError, match="copy made with other options"):
                await it.poll(NAME, **changes)
            assert not (it.directory / ".bulk-export").exists()
        it.service.settings = replace(it.service.settings, token="another")
        with pytest.raises(UsageError, match="another token"):
            await it.poll(NAME, token="another")
        it.later()
        await it.poll(NAME, token="another", accept_token=True)
        it.later()
        await it.poll(NAME, token="another")
        with pytest.raises(UsageError, match="another token"):
            await it.poll(NAME)


async def test_a_first_run_that_was_refused_binds_nothing(tmp_path: Path) -> None:
    """After a mistyped token, address or format, of which nothing was stored, the right one begins the copy."""
    async with copying(tmp_path / "copy") as it:
        with pytest.raises(ServiceRefused):
            await it.poll(NAME, token="mistyped")
        with pytest.raises(ServiceFailing):
            await it.poll(NAME, base_url="http://127.0.0.1:1")
        with pytest.raises(ServiceRefused):
            await it.poll(NAME, token="mistyped", format="parquet")
        full = await it.poll(NAME)
        assert (full.number, full.kind) == (1, "full")
        it.assert_current()
        assert not (it.directory / ".bulk-export").exists()


async def test_stored_pages_bind_a_copy(tmp_path: Path) -> None:
    """Once a page of a first poll is stored, another token is refused, and the poll goes on with its own."""
    async with copying(tmp_path / "copy", records_by_endpoint={NAME: 1_000}) as it:
        it.service.before_request = failing_from(4)
        with pytest.raises(ServiceFailing):
            await it.sync(NAME, page_size=100)
        with pytest.raises(UsageError, match="another token"):
            await it.sync(NAME, page_size=100, token="another")
        it.service.before_request = None
        it.service.settings = replace(it.service.settings, error_rate=0.0)
        summary = await it.sync(NAME, page_size=100)
        assert not any("fetched again" in remark for remark in summary.remarks)
        it.assert_current()


async def test_added_endpoint_is_fetched_in_full(tmp_path: Path) -> None:
    """An endpoint that is added later is fetched in full, and the others as before."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        it.later()
        full, changes = (await it.sync(NAME, WHOLE)).polls
        assert (full.kind, list(full.tables), changes.kind, list(changes.tables)) == (
            "full",
            [WHOLE],
            "changes",
            [NAME],
        )


async def test_a_copy_and_an_export_do_not_share_a_directory(tmp_path: Path) -> None:
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        with pytest.raises(UsageError, match="holds a copy that sync keeps"):
            await export(exporting.options(it.service, it.directory, NAME))
        with pytest.raises(UsageError, match="which has no manifest"):
            verify(it.directory)
        await export(exporting.options(it.service, tmp_path / "export", NAME))
        it.directory = tmp_path / "export"
        with pytest.raises(UsageError, match="holds a finished export"):
            await it.poll(NAME)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "letter.txt").write_text("mine")
        it.directory = tmp_path / "other"
        with pytest.raises(UsageError, match="not an export"):
            await it.poll(NAME)
        it.directory = tmp_path / "a[b]%"
        with pytest.raises(UsageError, match="which Delta tables cannot have"):
            await it.poll(NAME)
        assert not it.directory.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"tool": "bulk-export", "format": 2}', '{"tool": "bulk-export", "format": 1}']
)
async def test_torn_or_newer_state_is_refused(tmp_path: Path, text: str) -> None:
    """A state that is torn or of another version is refused and kept."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        (it.directory / "sync.json").write_text(text)
        with pytest.raises(DamagedState, match="cannot be used"):
            await it.poll(NAME)
        assert (it.directory / "sync.json").read_text() == text
        assert it.version() == 0


async def test_full_sync_keeps_to_its_window(tmp_path: Path) -> None:
    """A full sync keeps to its daily window, and polls go on meanwhile.

    Due outside of the window it waits; when the window closes it stops, and goes on in the next one.
    """
    between: dict[str, Any] = {"between": "01:00-05:00", "timezone": "UTC", "workers": 1, "page_size": 100}
    async with copying(tmp_path / "copy", records_by_endpoint={NAME: 1_500}) as it:
        await it.poll(NAME)
        it.later(7 * DAY)  # shortly after noon
        due = await it.sync(NAME, **between)
        assert [poll.kind for poll in due.polls] == ["changes"]
        assert any("waits for the window 01:00-05:00 UTC" in remark for remark in due.remarks)

        it.later(13 * HOUR)
        night = it.now
        gone = it.service.remove(NAME, 2)

        class Closing(Observer):
            def page_stored(self, endpoint: str, page: int, records: int) -> None:
                if page == 4:
                    it._clock[0] = night.replace(hour=5, minute=1)

        cut = await it.sync(NAME, observer=Closing(), **between)
        assert [poll.kind for poll in cut.polls] == ["changes"]
        assert any("goes on in the next window" in remark for remark in cut.remarks)

        # Meanwhile a record changes that the full sync has seen, and another poll takes it in.
        it.later(5 * HOUR)
        touched = it.service.touch(NAME, 0)
        await it.poll(NAME, **between)
        it.later(16 * HOUR)
        before = len(it.service.log)
        full, changes = (await it.sync(NAME, **between)).polls
        assert (full.kind, changes.kind, full.tables[NAME].counts.removed) == ("full", "changes", 1)
        assert next(record.page or 0 for record in list(it.service.log)[before:] if record.page_size == 100) > 3
        assert {row["id"]: row["_removed_at"] for row in it.rows()}[gone] is not None
        assert {row["id"]: row["_synced_at"] for row in it.rows()}[touched] > full.started_at
        it.assert_current()


async def test_vacuum_and_compact(tmp_path: Path) -> None:
    """The history ends where --vacuum says, and small files are put together."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        for _ in range(3):
            it.later()
            it.service.append(NAME, 1)
            await it.poll(NAME)
        assert len(DeltaTable(it.directory / NAME).file_uris()) > 1
        it.later()
        await it.poll(NAME, compact=True)
        assert len(DeltaTable(it.directory / NAME).file_uris()) == 1
        it.assert_current()
        for changes, said in (
            ({"vacuum": "6d"}, "7 days at least"),
            ({"compact": True, "format": "parquet"}, "Only Delta"),
        ):
            with pytest.raises(UsageError, match=said):
                it.options(NAME, **changes)


async def test_a_new_copy_waits_for_its_window(tmp_path: Path) -> None:
    stop, pauses = anyio.Event(), []

    class Paused(Observer):
        def outside_window(self, until: datetime) -> None:
            pauses.append(until)
            stop.set()

    async with copying(tmp_path / "copy") as it:
        with pytest.raises(Interrupted):
            await it.sync(NAME, observer=Paused(), stop=stop, between="01:00-05:00", timezone="UTC")
        assert pauses == [BEGAN.replace(day=3, hour=1, minute=0, second=0, microsecond=0)]
        assert not it.service.log


@asynccontextmanager
async def showing(records: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A service whose every page, but for the first, is empty."""

    async def answer(request: web.Request) -> web.Response:
        first = request.query.get("page[page]") == "1"
        return web.json_response({"data": records if first else []})

    async with web_server(answer) as url:
        yield url


def person(identity: str, **attributes: Any) -> dict[str, Any]:
    return {"id": identity, "type": "npq-participant", "attributes": attributes}


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_new_field_becomes_a_column(tmp_path: Path, format_: str) -> None:
    """A new field becomes a column, and a new member of a struct keeps the rows that lack it.

    The library that merges would empty a nested column whose type grows, in every row that it carries over.
    """
    records = [person(name, npq_enrolments=[{"email": f"{name}@example.org"}]) for name in ("a", "b", "c")]
    async with showing(records) as url:
        chosen = SyncOptions.of(
            [NAME],
            base_url=url,
            token=TOKEN,
            output=tmp_path / "copy",
            format=format_,
            budget="memory://",
            min_interval=0,
        )
        directory = tmp_path / "copy" / NAME

        def rows() -> dict[str, dict[str, Any]]:
            table = polars.read_delta(str(directory)) if format_ == "delta" else polars.read_parquet(directory)
            return {row["id"]: row for row in table.to_arrow().to_pylist()}

        await sync_once(chosen)
        records[0]["attributes"]["new"] = 7
        await sync_once(chosen)
        assert {name: row["new"] for name, row in rows().items()} == {"a": 7, "b": None, "c": None}

        records[0]["attributes"]["npq_enrolments"][0]["rank"] = 1
        records[1]["attributes"]["new"] = "no number"
        (poll,) = (await sync_once(chosen)).polls
        assert (poll.total("updated"), poll.total("unchanged")) == (2, 1)
        shown = rows()
        assert [row["npq_enrolments"][0]["email"] for row in shown.values()] == [
            f"{name}@example.org" for name in shown
        ]
        assert [shown[name]["npq_enrolments"][0]["rank"] for name in "abc"] == [1, None, None]
        # A column keeps its type; nothing is lost.
        assert (shown["b"]["new"], json.loads(shown["b"]["_extra"])) == (None, {"new": "no number"})

        assert (await sync_once(chosen)).polls[0].total("unchanged") == 3


async def test_failed_write_changes_nothing(tmp_path: Path) -> None:
    """A failed write leaves the table as it was, and the poll goes on."""
    async with copying(tmp_path / "copy") as it:
        await it.poll(NAME)
        it.later()
        it.service.touch(NAME, 1)
        log = it.directory / NAME / "_delta_log"
        (log / "00000000000000000001.json").mkdir()  # nobody can commit over it
        with pytest.raises(LocalFailure):
            await it.poll(NAME)
        (log / "00000000000000000001.json").rmdir()
        asked = len(it.service.log)
        resumed, poll = (await it.sync(NAME)).polls
        assert (counts(resumed)[2], counts(poll)[2], it.version()) == (1, 0, 1)
        # Nothing is known of the service here, so a short page is followed by a look behind it.
        assert len(it.service.log) == asked + 2
        it.assert_current()
