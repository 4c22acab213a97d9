"""Services over HTTP that cut pages, answer wrongly once, or say in odd ways that a list ends: what comes of it."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from aiohttp import web

from bulk_export.core.model import Paging, Service
from bulk_export.errors import Interrupted, ServiceFailing, ServiceRefused
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.results import summarise
from bulk_export.pipelines.stream import stream_batches
from bulk_export.progress.observer import Observer
from bulk_export.progress.summary import remarks
from bulk_export.services.catalogue import load_service
from tests.support.exporting import FREE, QUICK, TOKEN
from tests.support.web_server import web_server

NAME = "delivery-partners"
NPQ = load_service("npq")
STATUSES = [204, 400, 404, 416, 422]
Answer = list[int] | int


class Lists:
    """A service with one list of `records` numbers that shows at most `cap(n)` of them in its n-th answer.

    `fault` gets the number of the request, the page that it asks for and the right answer, and gives the one that is
    sent: numbers of records or a status. Pages count from `first`.
    """

    def __init__(
        self,
        records: int,
        *,
        cap: Callable[[int], int] = lambda _: 3_000,
        fault: Callable[[int, int, Answer], Answer] = lambda _count, _page, answer: answer,
        first: int = 1,
    ) -> None:
        self.records = records
        self.cap = cap
        self.fault = fault
        self.first = first
        self.asked: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        page, size = int(request.query["page[page]"]), int(request.query["page[per_page]"])
        count = len(self.asked)
        self.asked.append(page)
        size = min(size, self.cap(count))
        start = (page - self.first) * size
        right: Answer = list(range(self.records))[start : start + size] if start >= 0 else 400
        shown = self.fault(count, page, right)
        if isinstance(shown, int):
            return web.Response(status=shown)
        return web.json_response({"data": [record(number) for number in shown]})


def record(number: int) -> dict[str, Any]:
    attributes = {"name": f"{number}", "created_at": "2024-05-01T00:00:00Z", "updated_at": "2024-05-01T00:00:00Z"}
    return {"id": f"{number:08}-0000-4000-8000-000000000000", "type": "delivery-partner", "attributes": attributes}


class Hearing(Observer):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


def chosen(url: str, output: Path, service: Service = NPQ, **changes: Any) -> ExportOptions:
    given = {"base_url": url, "token": TOKEN, "output": output, "format": "ndjson", "page_size": 100, "retries": 20}
    return ExportOptions.of([NAME], service=service, **given | FREE | changes)


async def exported(lists: Lists, output: Path, **changes: Any) -> tuple[list[int], dict[str, Any], list[str]]:
    """The numbers that were exported, what the manifest says of the list, and the warnings."""
    hearing = Hearing()
    async with web_server(lists.answer) as url:
        await pipeline.export(chosen(url, output, **changes), hearing, tuning=QUICK)
    return numbers(output), json.loads((output / "manifest.json").read_text())["endpoints"][NAME], hearing.warnings


def numbers(output: Path) -> list[int]:
    files = sorted((output / NAME).glob("*.ndjson"))
    return [int(json.loads(line)["attributes"]["name"]) for file in files for line in file.read_bytes().splitlines()]


@pytest.mark.parametrize("total", [140, 1_000])
async def test_a_cap_below_a_stated_maximum_is_stated_and_costs_no_record(tmp_path: Path, total: int) -> None:
    lists = Lists(total, cap=lambda _: 100)
    found, stated, warnings = await exported(lists, tmp_path / "out", page_size=500)
    assert found == list(range(total))
    assert (stated["clamped"], stated["changed_during_export"]) == (100, False)
    assert warnings == [
        f"{NAME}: the service gives 100 records at once where 500 were asked for; all pages were read by that."
    ]


async def test_a_cap_that_falls_in_the_middle_is_read_on_behind_and_the_list_is_read_again(tmp_path: Path) -> None:
    lists = Lists(3_050, cap=lambda count: 3_000 if count < 1 else 1_000)
    found, stated, _ = await exported(lists, tmp_path / "out", page_size=3_000)
    assert sorted(found) == list(range(3_050))
    assert (stated["clamped"], stated["swept_again"]) == (1_000, 2)


async def test_a_cap_that_rises_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    lists = Lists(2_000, cap=lambda count: 100 if count < 6 else 300)
    found, stated, _ = await exported(lists, tmp_path / "out", page_size=300)
    assert sorted(found) == list(range(2_000))
    assert stated["swept_again"] >= 1


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("left", [0, 10])
@pytest.mark.parametrize("wrong", [0, 3])
async def test_one_answer_with_fewer_records_is_asked_for_again(
    tmp_path: Path, wrong: int, left: int, workers: int
) -> None:
    def fewer(count: int, _page: int, answer: Answer) -> Answer:
        return answer[:left] if count == wrong and isinstance(answer, list) else answer

    found, stated, _ = await exported(Lists(950, fault=fewer), tmp_path / "out", workers=workers)
    assert found == list(range(950))
    assert (stated["signs_of_change"], stated["duplicates"]) == ({}, 0)


@pytest.mark.parametrize("total", [900, 60])
@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_behind_the_last_page_is_the_end(tmp_path: Path, status: int, total: int) -> None:
    def no_such_page(_count: int, _page: int, answer: Answer) -> Answer:
        return answer or status

    lists = Lists(total, fault=no_such_page)
    found, stated, warnings = await exported(lists, tmp_path / "out")
    assert (found, warnings, stated["signs_of_change"]) == (list(range(total)), [], {})
    assert len(lists.asked) <= total // 100 + 9


@pytest.mark.parametrize("status", [401, 403, *STATUSES])
async def test_a_status_for_the_first_page_is_final(tmp_path: Path, status: int) -> None:
    lists = Lists(950, fault=lambda _count, _page, _answer: status)
    with pytest.raises(ServiceRefused, match=f"status {status}"):
        await exported(lists, tmp_path / "out")
    assert len(lists.asked) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_refused_is_never_an_end(tmp_path: Path, status: int) -> None:
    lists = Lists(950, fault=lambda _count, page, answer: status if page > 5 else answer)
    with pytest.raises(ServiceRefused, match=f"status {status}"):
        await exported(lists, tmp_path / "out")


async def test_a_service_that_knows_no_page_for_a_moment_has_no_end(tmp_path: Path) -> None:
    def out_of_order(count: int, _page: int, answer: Answer) -> Answer:
        return 404 if 3 <= count < 9 else answer

    found, stated, _ = await exported(Lists(1_950, fault=out_of_order), tmp_path / "out")
    assert (found, stated["signs_of_change"]) == (list(range(1_950)), {})


async def test_a_page_in_the_middle_that_stays_away_is_a_failure_and_no_end(tmp_path: Path) -> None:
    lists = Lists(1_950, fault=lambda _count, page, answer: 404 if page == 3 else answer)
    with pytest.raises(ServiceFailing, match="Page 3 of delivery-partners failed"):
        await exported(lists, tmp_path / "out", retries=2)


@pytest.mark.parametrize("again", ["last", "first"])
async def test_a_page_that_is_shown_again_is_the_end(tmp_path: Path, again: Literal["last", "first"]) -> None:
    lists = Lists(901, fault=lambda _count, _page, answer: answer or ([900] if again == "last" else list(range(100))))
    found, stated, warnings = await exported(lists, tmp_path / "out")
    assert (found, stated["signs_of_change"], warnings) == (list(range(lists.records)), {}, [])


async def test_a_refusal_to_page_any_deeper_is_stated_and_warned_of(tmp_path: Path) -> None:
    lists = Lists(5_000, fault=lambda _count, page, answer: 422 if page > 10 else answer)
    found, stated, warnings = await exported(lists, tmp_path / "out")
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

    lists = Lists(950, fault=doubled)
    with pytest.raises(ServiceFailing, match="pages that were not asked for"):
        await exported(lists, tmp_path / "out", workers=1)


async def test_an_answer_to_another_page_is_asked_for_again_and_the_list_is_read_again(tmp_path: Path) -> None:
    right: list[Answer] = []

    def late(_count: int, _page: int, answer: Answer) -> Answer:
        right.append(answer)
        return right[-2] if len(right) in (2, 6) else answer

    found, stated, _ = await exported(Lists(950, fault=late), tmp_path / "out", workers=1)
    assert found == list(range(950))
    assert stated["swept_again"] >= 1


@pytest.mark.parametrize("total", [0, 40, 900])
@pytest.mark.parametrize("lower", ["right", "same", 400, 500, "empty"])
async def test_where_pages_count_from_is_found_out_and_remembered(
    tmp_path: Path, total: int, lower: Literal["right", "same", "empty"] | int
) -> None:
    """`lower` is what number 0 shows: the first page, the same as number 1, an error or nothing."""

    def shown(_count: int, page: int, answer: Answer) -> Answer:
        if page > 0 or lower == "right":
            return answer
        return lower if isinstance(lower, int) else list(range(min(total, 100))) if lower == "same" else []

    open_paging = Paging(first=1, first_is_known=False)
    service = replace(
        NPQ, endpoints=tuple(replace(endpoint, paging=open_paging, sort=None) for endpoint in NPQ.endpoints)
    )
    lists = Lists(total, fault=shown, first=0 if lower == "right" else 1)
    place = {"budget": f"sqlite:///{tmp_path}/budget.sqlite", "service": service}
    async with web_server(lists.answer) as url:
        await pipeline.export(chosen(url, tmp_path / "out", **place), tuning=QUICK)
        assert numbers(tmp_path / "out") == list(range(total))
        before = len(lists.asked)
        await pipeline.export(chosen(url, tmp_path / "again", **place), tuning=QUICK)
    assert numbers(tmp_path / "again") == list(range(total))
    if total > 1:
        assert lists.asked[before] == lists.first
        assert len(lists.asked) - before <= before


@pytest.mark.parametrize("counts", ["records", "pages"])
async def test_whether_a_number_counts_pages_or_records_is_found_out(tmp_path: Path, counts: str) -> None:
    paging = Paging(style="pages", first=0, first_is_known=False, style_is_known=False, largest=None)
    service = replace(NPQ, endpoints=tuple(replace(endpoint, paging=paging, sort=None) for endpoint in NPQ.endpoints))
    lists = Lists(950, first=0)
    if counts == "records":
        lists.fault = lambda _count, number, _answer: list(range(number, min(number + 100, 950)))
    found, stated, _ = await exported(lists, tmp_path / "out", service=service)
    assert (found, stated["duplicates"]) == (list(range(950)), 0)
    assert len(lists.asked) < 20


async def test_what_is_known_of_a_service_is_kept_privately_beside_the_budget(tmp_path: Path) -> None:
    lists = Lists(940, cap=lambda _: 100)
    place = {"budget": f"sqlite:///{tmp_path}/budget.sqlite", "page_size": 300}
    spent = []
    async with web_server(lists.answer) as url:
        for run in range(4):
            before = len(lists.asked)
            await pipeline.export(chosen(url, tmp_path / f"out{run}", **place), tuning=QUICK)
            assert numbers(tmp_path / f"out{run}") == list(range(940))
            spent.append(len(lists.asked) - before)
            if run == 1:
                (tmp_path / "budget.sqlite.facts").write_bytes(b"no database at all")
    assert spent[1] < spent[0] == spent[2] == spent[3]
    kept = tmp_path / "budget.sqlite.facts"
    assert kept.read_bytes() == b"no database at all"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_what_is_known_holds_numbers_only(tmp_path: Path) -> None:
    async with web_server(Lists(940).answer) as url:
        options = chosen(url, tmp_path / "out", budget=f"sqlite:///{tmp_path}/budget.sqlite")
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
async def test_stopped_after_any_request_an_export_from_such_a_service_has_the_same_bytes(
    tmp_path: Path, workers: int
) -> None:
    def fault(_count: int, page: int, answer: Answer) -> Answer:
        return answer or (404 if page > 11 else [])

    plain, _, _ = await exported(Lists(940, cap=lambda _: 100, fault=fault), tmp_path / "plain", page_size=300)
    lists = Lists(940, cap=lambda _: 100, fault=fault)
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
                options = chosen(url, tmp_path / "out", page_size=300, workers=workers)
                await pipeline.export(options, Stopping(stop), stop=stop, tuning=QUICK)
                break
            except Interrupted:
                continue
    assert numbers(tmp_path / "out") == plain == list(range(940))
    stated = [json.loads((tmp_path / run / "manifest.json").read_text())["endpoints"][NAME] for run in ("plain", "out")]
    for one in stated:
        del one["requests"]
    assert stated[0] == stated[1]


async def test_a_stream_keeps_the_same_promises_and_warns(tmp_path: Path) -> None:
    hearing = Hearing()

    def fewer(count: int, _page: int, answer: Answer) -> Answer:
        return answer[:33] if count == 1 and isinstance(answer, list) else answer

    lists = Lists(950, cap=lambda _: 100, fault=fewer)
    async with web_server(lists.answer) as url:
        batches = stream_batches(chosen(url, tmp_path / "out", page_size=300), hearing, QUICK)
        found = [int(name) async for batch in batches for name in batch.column("name").to_pylist()]
    assert found == list(range(950))
    assert "gives 100 records at once where 300 were asked for" in hearing.warnings[0]


async def test_a_replay_has_the_records_and_signs_of_the_export(tmp_path: Path) -> None:
    lists = Lists(5_000, cap=lambda _: 100, fault=lambda _count, page, answer: 422 if page > 10 else answer)
    found, stated, _ = await exported(lists, tmp_path / "out", page_size=300, keep_pages=True)
    await replay(ReplayOptions.of(tmp_path / "out", service=NPQ, output=tmp_path / "again", format="ndjson"))
    assert numbers(tmp_path / "again") == found
    again = json.loads((tmp_path / "again/manifest.json").read_text())["endpoints"][NAME]
    for one in (again, stated):
        del one["requests"]
    assert again == stated
