"""`--page-size auto`: sizes that the service answers well, the same files, and exports that go on after a kill."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from bulk_export.errors import Interrupted, ServiceFailing, UsageError
from bulk_export.output.run_log import RunLog
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.page_size_trials import begin_smaller
from bulk_export.pipelines.plan import PlanOptions
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.progress.observer import Observer
from tests.support.exporting import QUICK
from tests.support.heard_warnings import HeardWarnings
from tests.support.killed_exports import Killed, kill
from tests.support.list_service import NAME, ListService, described, options
from tests.support.web_server import web_server

COUNT = 6_100
PEOPLE = [{"id": f"{number:05}", "type": "person", "attributes": {"name": f"P{number}"}} for number in range(COUNT)]
LARGE = described(largest=3000)


@asynccontextmanager
async def serving(*, cap: int = 3000, fails_above: int = 3000, count: int = COUNT) -> AsyncIterator[ListService]:
    """Serve people; pages above a size come as a timeout of the gateway."""
    service = ListService(PEOPLE[:count], cap=cap)

    async def answer(request: web.Request) -> web.Response:
        if int(request.query["page[per_page]"]) > fails_above:
            service.queries.append(dict(request.query))
            return web.Response(status=504)
        return await service.answer(request)

    async with web_server(answer) as service.base_url:
        yield service


def tuning(*seconds: float) -> Any:
    """Trials that take these seconds, one after the other, and then the last one again and again."""
    times = itertools.accumulate(itertools.chain(*((0.0, each) for each in seconds), itertools.repeat(seconds[-1])))
    return replace(QUICK, stopwatch=lambda: next(times))


def auto(service: ListService, output: Path, **changes: Any) -> ExportOptions:
    return options(service, output, LARGE, **({"page_size": "auto", "format": "parquet"} | changes))


def sizes_asked(service: ListService) -> list[int]:
    return [int(query["page[per_page]"]) for query in service.queries]


def content(output: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((output / NAME).iterdir())]


def manifest(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return found


async def test_it_grows_and_the_files_are_the_same(tmp_path: Path) -> None:
    """Pages grow to 3,000 while they are as quick as small ones; no file tells which size it was."""
    async with serving() as service:
        await export(auto(service, tmp_path / "auto"), tuning=tuning(1.0))
        assert sizes_asked(service)[:3] == [300, 1500, 3000]
        assert set(sizes_asked(service)[3:]) == {3000}
        sent = len(service.queries)
        for size in (300, 1500, 3000):
            await export(auto(service, tmp_path / str(size), page_size=size), tuning=QUICK)
            assert content(tmp_path / str(size)) == content(tmp_path / "auto")
    stated = manifest(tmp_path / "auto")
    assert (stated["parameters"]["page_size"], stated["endpoints"][NAME]["page_size"]) == ("auto", 3000)
    assert stated["endpoints"][NAME]["records"] == COUNT
    assert stated["run"]["requests"] == stated["endpoints"][NAME]["requests"] == sent


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_waits_of_the_trials(tmp_path: Path, is_stopped: bool) -> None:
    """A 429 while sizes are tried is in the log of the run and counted, also if the run is stopped there."""
    service, stop = ListService(PEOPLE[:500], cap=3000), anyio.Event()
    refusals = iter([True])

    async def answer(request: web.Request) -> web.Response:
        if next(refusals, False):
            return web.Response(status=429, headers={"Retry-After": "0"})
        return await service.answer(request)

    class Stops(Observer):
        def throttled(self, pause: float) -> None:
            stop.set()

    async with web_server(answer) as service.base_url:
        if is_stopped:
            with pytest.raises(Interrupted):
                await export(auto(service, tmp_path / "out"), Stops(), tuning=QUICK, stop=stop)
        await export(auto(service, tmp_path / "out"), tuning=QUICK)
    timeline = RunLog.parse((tmp_path / "out" / "run.jsonl").read_text()).timeline
    run = manifest(tmp_path / "out")["run"]
    assert [hold.cause for hold in timeline.holds] == ["throttled"]
    assert timeline.total("throttled") == run["throttled"] == 1
    assert timeline.total("requests") == run["requests"]
    assert len(timeline.starts) == 1 + is_stopped


@pytest.mark.parametrize(
    ("settings", "seconds", "asked", "chosen"),
    [
        ({}, (1.0, 9.0), [300, 1500], 300),
        ({}, (1.0, 2.0, 9.0), [300, 1500, 3000], 1500),
        ({"cap": 1000}, (1.0,), [300, 1500], 300),
        ({"fails_above": 1500}, (1.0,), [300, 1500, 3000], 1500),
        ({"count": 120}, (1.0,), [300], 300),
    ],
    ids=["slower at once", "slower later", "cut by the service", "too large for the service", "a short list"],
)
async def test_it_stops_where_it_does_not_pay(
    tmp_path: Path, settings: dict[str, int], seconds: tuple[float, ...], asked: list[int], chosen: int
) -> None:
    """The size before the one that is slower, cut or not answered is kept."""
    async with serving(**settings) as service:
        await export(auto(service, tmp_path / "out"), tuning=tuning(*seconds))
        assert sizes_asked(service)[: len(asked)] == asked
        assert set(sizes_asked(service)[len(asked) :]) == {chosen}
    stated = manifest(tmp_path / "out")["endpoints"][NAME]
    assert (stated["page_size"], stated["records"]) == (chosen, settings.get("count", COUNT))


@asynccontextmanager
async def tiring() -> AsyncIterator[ListService]:
    """Serve people; of large pages only the first one is answered."""
    service = ListService(PEOPLE, cap=3000)

    async def answer(request: web.Request) -> web.Response:
        if int(request.query["page[per_page]"]) > 300 and request.query["page[page]"] != "1":
            service.queries.append(dict(request.query))
            return web.Response(status=504)
        return await service.answer(request)

    async with web_server(answer) as service.base_url:
        yield service


async def test_it_shrinks(tmp_path: Path) -> None:
    """A list whose large pages keep failing is begun again with smaller ones, twice at most, and is whole."""
    heard = HeardWarnings()
    async with tiring() as service:
        await export(auto(service, tmp_path / "auto"), heard, tuning=tuning(1.0))
        await export(auto(service, tmp_path / "small", page_size=300), tuning=QUICK)
    assert content(tmp_path / "auto") == content(tmp_path / "small")
    assert [text for text in heard.warnings if "begun again" in text] == [
        f"{NAME}: pages of 3,000 records keep failing, so it is begun again with pages of 1,500.",
        f"{NAME}: pages of 1,500 records keep failing, so it is begun again with pages of 300.",
    ]
    assert manifest(tmp_path / "auto")["endpoints"][NAME]["page_size"] == 300


@asynccontextmanager
async def going_away(*, returns_after: int) -> AsyncIterator[ListService]:
    """Serve people; after the first page of the export every request fails, until that many small ones failed."""
    service = ListService(PEOPLE, cap=3000)
    small = itertools.count(1)
    is_away = True

    async def answer(request: web.Request) -> web.Response:
        nonlocal is_away
        if is_away and len(service.queries) >= 4:
            service.queries.append(dict(request.query))
            if request.query["page[per_page]"] == "300":
                is_away = next(small) < returns_after
            return web.Response(status=500)
        return await service.answer(request)

    async with web_server(answer) as service.base_url:
        yield service


async def test_it_does_not_shrink_while_the_service_is_away(tmp_path: Path) -> None:
    """If small pages fail as well, large ones are not too large: the export waits, and goes on with what it has."""
    heard = HeardWarnings()
    async with going_away(returns_after=2) as service:
        await export(auto(service, tmp_path / "auto", workers=1), heard, tuning=tuning(1.0))
        assert sizes_asked(service).count(300) == 4
        firsts = [query for query in service.queries if query["page[page]"] == "1"]
        assert [int(query["page[per_page]"]) for query in firsts] == [300, 1500, 3000, 3000, 300, 300, 300]
    assert not [text for text in heard.warnings if "begun again" in text]
    stated = manifest(tmp_path / "auto")["endpoints"][NAME]
    assert (stated["page_size"], stated["records"]) == (3000, COUNT)


async def test_a_long_outage_costs_nothing_stored(tmp_path: Path) -> None:
    """An export that ends since the service is away goes on later with its pages and its size."""
    async with going_away(returns_after=5) as service:
        with pytest.raises(ServiceFailing) as failed:
            await export(auto(service, tmp_path / "auto", workers=1, retries=4), tuning=tuning(1.0))
        assert failed.value.large_page is None
        before = len(service.queries)
        await export(auto(service, tmp_path / "auto"), tuning=tuning(1.0))
        assert [query for query in service.queries[before:] if query["page[page]"] == "1"] == []
        assert set(sizes_asked(service)[before:]) == {3000}
    assert manifest(tmp_path / "auto")["endpoints"][NAME]["page_size"] == 3000


@pytest.mark.parametrize("retries", [0, 1])
async def test_it_shrinks_with_few_retries(tmp_path: Path, retries: int) -> None:
    """Where a page gets fewer attempts than large ones get, the last one counts."""
    async with tiring() as service:
        await export(auto(service, tmp_path / "auto", retries=retries), tuning=tuning(1.0))
    assert manifest(tmp_path / "auto")["endpoints"][NAME]["page_size"] == 300


async def test_small_pages_fail_as_ever(tmp_path: Path) -> None:
    """Where pages of 300 fail as well, all attempts are made, and the export fails."""
    async with serving(fails_above=1) as service:
        with pytest.raises(ServiceFailing):
            await export(auto(service, tmp_path / "out", retries=4), tuning=tuning(1.0))
        assert sizes_asked(service).count(300) > 4


@pytest.mark.parametrize("moment", ["after the trials", "before it shrinks", "after it shrank"])
async def test_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The next run goes on with the sizes that were chosen, tries nothing again, and gives the same files."""

    def shrink_and_die(*arguments: Any) -> int:
        if moment == "after it shrank":
            begin_smaller(*arguments)
        raise Killed

    async with tiring() if "shr" in moment else serving() as service:
        with monkeypatch.context() as patch:
            if "shr" in moment:
                patch.setattr(pipeline, "begin_smaller", shrink_and_die)
            else:
                patch.setattr(pipeline, "FetchAndConvert", kill)
            with pytest.raises((Killed, BaseExceptionGroup)):
                await export(auto(service, tmp_path / "auto"), tuning=tuning(1.0))
        before = len(service.queries)
        await export(auto(service, tmp_path / "auto"), tuning=tuning(1.0))
        expected = {"after the trials": 3000, "before it shrinks": 3000, "after it shrank": 1500}[moment]
        assert sizes_asked(service)[before] == expected
        await export(auto(service, tmp_path / "plain", page_size=300), tuning=QUICK)
    assert content(tmp_path / "auto") == content(tmp_path / "plain")


async def test_stopped_during_trials(tmp_path: Path) -> None:
    """Nothing is stored of a list whose size was not found, and the next run finds it."""
    stop = anyio.Event()
    async with serving() as service:
        usual = service.bend

        def stopping(number: int, records: Any) -> Any:
            stop.set()
            return usual(number, records)

        service.bend = stopping
        with pytest.raises(Interrupted):
            await export(auto(service, tmp_path / "out"), tuning=tuning(1.0), stop=stop)
        assert len(service.queries) == 1
        await export(auto(service, tmp_path / "out"), tuning=tuning(1.0))
    assert manifest(tmp_path / "out")["endpoints"][NAME]["records"] == COUNT


async def test_another_size_is_another_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unfinished export with auto is not continued with a number."""
    async with serving() as service:
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "FetchAndConvert", kill)
            with pytest.raises((Killed, BaseExceptionGroup)):
                await export(auto(service, tmp_path / "out"), tuning=tuning(1.0))
        with pytest.raises(UsageError, match="--page-size auto, now 300"):
            await export(auto(service, tmp_path / "out", page_size=300), tuning=QUICK)


async def test_consistent(tmp_path: Path) -> None:
    """Further sweeps keep to the size."""
    async with serving() as service:
        await export(auto(service, tmp_path / "out", consistent=True), tuning=tuning(1.0, 2.0, 9.0))
        assert set(sizes_asked(service)[3:]) == {1500}
    assert manifest(tmp_path / "out")["endpoints"][NAME]["consistent"] is True


def test_where_it_is_refused(tmp_path: Path) -> None:
    """It is for exports of everything that keep no pages; plan takes it as the largest size."""
    for more in ({"limit": 10}, {"keep_pages": True}):
        with pytest.raises(UsageError, match="do not go together"):
            ExportOptions.of(environment="local", output=tmp_path, page_size="auto", **more)
    with pytest.raises(UsageError, match="for exports"):
        SyncOptions.of(environment="local", output=tmp_path / "copy", page_size="auto")
    counted = PlanOptions.of(["statements"], page_size="auto", records=["statements=30000"])
    assert counted.export.page_size == 3000
