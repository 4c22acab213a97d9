"""Services over HTTP that cut pages, answer wrongly once, or say in odd ways that a list ends: what comes of it."""

from __future__ import annotations

import json
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio
import pytest

from bulk_export.core.model import Paging
from bulk_export.errors import Interrupted, ServiceFailing, ServiceRefused
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.results import summarise
from bulk_export.pipelines.stream import stream_batches
from bulk_export.progress.observer import Observer
from bulk_export.progress.summary import remarks
from tests.support.disturbed_list import (
    NAME,
    NPQ,
    Answer,
    DisturbedList,
    export_list,
    list_options,
    numbers_in,
)
from tests.support.exporting import QUICK, TOKEN
from tests.support.heard_warnings import HeardWarnings
from tests.support.web_server import web_server

STATUSES = [204, 400, 404, 416, 422]


@pytest.mark.parametrize("total", [140, 1_000])
async def test_cap_below_stated_maximum(tmp_path: Path, total: int) -> None:
    """A cap below the stated maximum is reported, and loses no record."""
    lists = DisturbedList(total, cap=lambda _: 100)
    found, stated, warnings = await export_list(lists, tmp_path / "out", page_size=500)
    assert found == list(range(total))
    assert (stated["clamped"], stated["changed_during_export"]) == (100, False)
    assert warnings == [
        f"{NAME}: the service gives 100 records at once where 500 were asked for; all pages were read by that."
    ]


async def test_cap_that_falls_is_swept_again(tmp_path: Path) -> None:
    """After a cap that falls in the middle, the pages behind it are read, and then the list is read again."""
    lists = DisturbedList(3_050, cap=lambda count: 3_000 if count < 1 else 1_000)
    found, stated, _ = await export_list(lists, tmp_path / "out", page_size=3_000)
    assert sorted(found) == list(range(3_050))
    assert (stated["clamped"], stated["swept_again"]) == (1_000, 2)


async def test_a_cap_that_rises_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    lists = DisturbedList(2_000, cap=lambda count: 100 if count < 6 else 300)
    found, stated, _ = await export_list(lists, tmp_path / "out", page_size=300)
    assert sorted(found) == list(range(2_000))
    assert stated["swept_again"] >= 1


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("left", [0, 10])
@pytest.mark.parametrize("wrong", [0, 3])
async def test_short_response_is_requested_again(tmp_path: Path, wrong: int, left: int, workers: int) -> None:
    """One response with fewer records is requested again."""

    def fewer(count: int, _page: int, answer: Answer) -> Answer:
        return answer[:left] if count == wrong and isinstance(answer, list) else answer

    found, stated, _ = await export_list(DisturbedList(950, fault=fewer), tmp_path / "out", workers=workers)
    assert found == list(range(950))
    assert (stated["signs_of_change"], stated["duplicates"]) == ({}, 0)


@pytest.mark.parametrize("total", [900, 60])
@pytest.mark.parametrize("status", STATUSES)
async def test_status_after_last_page_is_the_end(tmp_path: Path, status: int, total: int) -> None:
    """A status such as 404 after the last page is the end."""

    def no_such_page(_count: int, _page: int, answer: Answer) -> Answer:
        return answer or status

    lists = DisturbedList(total, fault=no_such_page)
    found, stated, warnings = await export_list(lists, tmp_path / "out")
    assert (found, warnings, stated["signs_of_change"]) == (list(range(total)), [], {})
    assert len(lists.asked) <= total // 100 + 9


@pytest.mark.parametrize("status", [401, 403, *STATUSES])
async def test_a_status_for_the_first_page_is_final(tmp_path: Path, status: int) -> None:
    lists = DisturbedList(950, fault=lambda _count, _page, _answer: status)
    with pytest.raises(ServiceRefused, match=f"status {status}"):
        await export_list(lists, tmp_path / "out")
    assert len(lists.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_refused_is_never_an_end(tmp_path: Path, status: int) -> None:
    lists = DisturbedList(950, fault=lambda _count, page, answer: status if page > 5 else answer)
    with pytest.raises(ServiceRefused, match=f"status {status}"):
        await export_list(lists, tmp_path / "out")


async def test_momentary_error_is_no_end(tmp_path: Path) -> None:
    """A service that knows no page for a moment has not reached its end."""

    def out_of_order(count: int, _page: int, answer: Answer) -> Answer:
        return 404 if 3 <= count < 9 else answer

    found, stated, _ = await export_list(DisturbedList(1_950, fault=out_of_order), tmp_path / "out")
    assert (found, stated["signs_of_change"]) == (list(range(1_950)), {})


async def test_missing_page_is_a_failure(tmp_path: Path) -> None:
    """A page in the middle that stays away is a failure, and not the end."""
    lists = DisturbedList(1_950, fault=lambda _count, page, answer: 404 if page == 3 else answer)
    with pytest.raises(ServiceFailing, match="Page 3 of delivery-partners failed"):
        await export_list(lists, tmp_path / "out", retries=2)


@pytest.mark.parametrize("again", ["last", "first"])
async def test_repeated_last_page_is_the_end(tmp_path: Path, again: Literal["last", "first"]) -> None:
    """A page that is shown again after the last one is the end."""
    repeated = [900] if again == "last" else list(range(100))
    lists = DisturbedList(901, fault=lambda _count, _page, answer: answer or repeated)
    found, stated, warnings = await export_list(lists, tmp_path / "out")
    assert (found, stated["signs_of_change"], warnings) == (list(range(lists.records)), {}, [])


async def test_refused_depth_is_stated(tmp_path: Path) -> None:
    """A service that refuses to page deeper is reported, with a warning."""
    lists = DisturbedList(5_000, fault=lambda _count, page, answer: 422 if page > 10 else answer)
    found, stated, warnings = await export_list(lists, tmp_path / "out")
    assert (len(found), stated["signs_of_change"], stated["changed_during_export"]) == (
        1_000,
        {"suspicious_end": 1},
        True,
    )
    assert "the list may go on behind page 10" in warnings[0]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert f"{NAME}: the list may go on behind its last page (10 pages)" in remarks(summarise(manifest, tmp_path, 1))[0]


async def test_each_answer_twice_is_noticed(tmp_path: Path) -> None:
    """As on a connection where every answer comes twice, so that most are those to the request before."""
    right: list[Answer] = []

    def doubled(count: int, _page: int, answer: Answer) -> Answer:
        right.append(answer)
        return right[count // 2]

    lists = DisturbedList(950, fault=doubled)
    with pytest.raises(ServiceFailing, match="pages that were not requested"):
        await export_list(lists, tmp_path / "out", workers=1)


async def test_response_to_another_page(tmp_path: Path) -> None:
    """A response to another page is requested again, and the list is read again."""
    right: list[Answer] = []

    def late(_count: int, _page: int, answer: Answer) -> Answer:
        right.append(answer)
        return right[-2] if len(right) in (2, 6) else answer

    found, stated, _ = await export_list(DisturbedList(950, fault=late), tmp_path / "out", workers=1)
    assert found == list(range(950))
    assert stated["swept_again"] >= 1


@pytest.mark.parametrize("total", [0, 40, 900])
@pytest.mark.parametrize("lower", ["right", "same", 400, 500, "empty"])
async def test_first_page_number_is_learned(
    tmp_path: Path, total: int, lower: Literal["right", "same", "empty"] | int
) -> None:
    """The number of the first page is learned and remembered.

    `lower` is what number 0 shows: the first page, the same as number 1, an error or nothing.
    """

    def shown(_count: int, page: int, answer: Answer) -> Answer:
        if page > 0 or lower == "right":
            return answer
        return lower if isinstance(lower, int) else list(range(min(total, 100))) if lower == "same" else []

    open_paging = Paging(first=1, first_is_known=False)
    service = replace(
        NPQ, endpoints=tuple(replace(endpoint, paging=open_paging, sort=None) for endpoint in NPQ.endpoints)
    )
    lists = DisturbedList(total, fault=shown, first=0 if lower == "right" else 1)
    place = {"budget": f"sqlite:///{tmp_path}/budget.sqlite", "service": service}
    async with web_server(lists.answer) as url:
        await pipeline.export(list_options(url, tmp_path / "out", **place), tuning=QUICK)
        assert numbers_in(tmp_path / "out") == list(range(total))
        before = len(lists.asked)
        await pipeline.export(list_options(url, tmp_path / "again", **place), tuning=QUICK)
    assert numbers_in(tmp_path / "again") == list(range(total))
    if total > 1:
        assert lists.asked[before] == lists.first
        assert len(lists.asked) - before <= before


@pytest.mark.parametrize("counts", ["records", "pages"])
async def test_page_or_record_numbers_are_learned(tmp_path: Path, counts: str) -> None:
    """Whether a number counts pages or records is learned."""
    paging = Paging(style="pages", first=0, first_is_known=False, style_is_known=False, largest=None)
    service = replace(NPQ, endpoints=tuple(replace(endpoint, paging=paging, sort=None) for endpoint in NPQ.endpoints))
    lists = DisturbedList(950, first=0)
    if counts == "records":
        lists.fault = lambda _count, number, _answer: list(range(number, min(number + 100, 950)))
    found, stated, _ = await export_list(lists, tmp_path / "out", service=service)
    assert (found, stated["duplicates"]) == (list(range(950)), 0)
    assert len(lists.asked) < 20


async def test_service_facts_are_private(tmp_path: Path) -> None:
    """What is known of a service is kept in a private file beside the budget."""
    lists = DisturbedList(940, cap=lambda _: 100)
    place = {"budget": f"sqlite:///{tmp_path}/budget.sqlite", "page_size": 300}
    spent = []
    async with web_server(lists.answer) as url:
        for run in range(4):
            before = len(lists.asked)
            await pipeline.export(list_options(url, tmp_path / f"out{run}", **place), tuning=QUICK)
            assert numbers_in(tmp_path / f"out{run}") == list(range(940))
            spent.append(len(lists.asked) - before)
            if run == 1:
                (tmp_path / "budget.sqlite.facts").write_bytes(b"no database at all")
    assert spent[1] < spent[0] == spent[2] == spent[3]
    kept = tmp_path / "budget.sqlite.facts"
    assert kept.read_bytes() == b"no database at all"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_service_facts_are_numbers(tmp_path: Path) -> None:
    """What is known of a service contains numbers only."""
    async with web_server(DisturbedList(940).answer) as url:
        options = list_options(url, tmp_path / "out", budget=f"sqlite:///{tmp_path}/budget.sqlite")
        await pipeline.export(options, tuning=QUICK)
    connection = sqlite3.connect(tmp_path / "budget.sqlite.facts")
    ((service, endpoint, text, _),) = connection.execute("SELECT * FROM facts").fetchall()
    connection.close()
    assert (service, endpoint) == (url, "/api/v3/delivery-partners")
    assert json.loads(text) == {
        "checked": [[100, 40]],
        "clamp": None,
        "first": None,
        "longest": 100,
        "records": 940,
        "style": None,
    }
    assert TOKEN.encode() not in (tmp_path / "budget.sqlite.facts").read_bytes()


@pytest.mark.parametrize("workers", [1, 6])
async def test_interrupted_anywhere_same_bytes(tmp_path: Path, workers: int) -> None:
    """An export that is stopped after any request ends with the same bytes."""

    def fault(_count: int, page: int, answer: Answer) -> Answer:
        return answer or (404 if page > 11 else [])

    lists = DisturbedList(940, cap=lambda _: 100, fault=fault)
    undisturbed, _, _ = await export_list(lists, tmp_path / "undisturbed", page_size=300)
    lists = DisturbedList(940, cap=lambda _: 100, fault=fault)
    async with web_server(lists.answer) as url:
        for _ in range(60):
            stop = anyio.Event()

            class Stopping(Observer):
                def __init__(self, stop: anyio.Event) -> None:
                    self.stop, self.sent = stop, 0

                def request_sent(self, endpoint: str) -> None:
                    self.sent += 1
                    if self.sent == 3:
                        self.stop.set()

            try:
                options = list_options(url, tmp_path / "out", page_size=300, workers=workers)
                await pipeline.export(options, Stopping(stop), stop=stop, tuning=QUICK)
                break
            except Interrupted:
                continue
    assert numbers_in(tmp_path / "out") == undisturbed == list(range(940))
    stated = [
        json.loads((tmp_path / run / "manifest.json").read_text())["endpoints"][NAME] for run in ("undisturbed", "out")
    ]
    for one in stated:
        del one["requests"]
    assert stated[0] == stated[1]


async def test_a_stream_keeps_the_same_promises_and_warns(tmp_path: Path) -> None:
    hearing = HeardWarnings()

    def fewer(count: int, _page: int, answer: Answer) -> Answer:
        return answer[:33] if count == 1 and isinstance(answer, list) else answer

    lists = DisturbedList(950, cap=lambda _: 100, fault=fewer)
    async with web_server(lists.answer) as url:
        batches = stream_batches(list_options(url, tmp_path / "out", page_size=300), hearing, QUICK)
        found = [int(name) async for batch in batches for name in batch.column("name").to_pylist()]
    assert found == list(range(950))
    assert "gives 100 records at once where 300 were asked for" in hearing.warnings[0]


async def test_replay_has_records_and_signs(tmp_path: Path) -> None:
    """A replay has the records and the signs of change of the export."""
    lists = DisturbedList(5_000, cap=lambda _: 100, fault=lambda _count, page, answer: 422 if page > 10 else answer)
    found, stated, _ = await export_list(lists, tmp_path / "out", page_size=300, keep_pages=True)
    await replay(ReplayOptions.of(tmp_path / "out", service=NPQ, output=tmp_path / "again", format="ndjson"))
    assert numbers_in(tmp_path / "again") == found
    again = json.loads((tmp_path / "again/manifest.json").read_text())["endpoints"][NAME]
    for one in (again, stated):
        del one["requests"]
    assert again == stated
