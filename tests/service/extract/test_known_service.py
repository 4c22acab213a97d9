"""Services that were exported before, and services without a fixed order: neither costs a record silently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bulk_export.core.model import Paging
from bulk_export.extract.pagination import PagePlanner
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.stream import stream_batches
from tests.support.disturbed_list import (
    NPQ,
    Answer,
    DisturbedList,
    export_list,
    list_options,
    numbers_in,
)
from tests.support.exporting import QUICK
from tests.support.heard_warnings import HeardWarnings
from tests.support.web_server import web_server


async def _exported_twice(
    lists: DisturbedList, then: DisturbedList, tmp_path: Path, page_size: int
) -> tuple[list[int], list[str], list[str]]:
    """The numbers found in `then`, and the warnings at both exports; both lists are of one service."""
    serving = {"now": lists}
    observers = (HeardWarnings(), HeardWarnings())
    output = tmp_path / "none"

    async def answer(request: web.Request) -> web.Response:
        return await serving["now"].answer(request)

    async with web_server(answer) as url:
        for number, (observer, serving["now"]) in enumerate(zip(observers, (lists, then), strict=True)):
            output = tmp_path / f"out{number}"
            options = list_options(url, output, page_size=page_size, budget=f"sqlite:///{tmp_path}/budget.sqlite")
            await pipeline.export(options, observer, tuning=QUICK)
    return numbers_in(output), observers[0].warnings, observers[1].warnings


@pytest.mark.parametrize("cap", [25, 100])
async def test_list_that_outgrew_a_cap(tmp_path: Path, cap: int) -> None:
    """A list that was as long as a cap and grew is read to its end."""
    lists = [DisturbedList(total, cap=lambda _: cap) for total in (cap, 2 * cap + 5)]
    found, _, _ = await _exported_twice(*lists, tmp_path, page_size=3_000)
    assert found == list(range(2 * cap + 5))


async def test_page_of_cap_length_is_checked_once(tmp_path: Path) -> None:
    """The page after one of a cap's length is requested in the first export only: then longer pages are known."""
    lists = [DisturbedList(350), DisturbedList(350)]
    found, _, _ = await _exported_twice(*lists, tmp_path, page_size=300)
    assert found == list(range(350))
    assert [max(one.asked) for one in lists] == [3, 2]


async def test_repeated_page_is_never_the_end(tmp_path: Path) -> None:
    """A page that is shown for every number is never known to be everything."""

    def second(_count: int, _page: int, _answer: Answer) -> Answer:
        return list(range(200, 300))

    lists = [DisturbedList(300, fault=second), DisturbedList(300, fault=second)]
    _, first, again = await _exported_twice(*lists, tmp_path, page_size=200)
    assert first == again
    assert "taken for all" in again[0]


@pytest.mark.parametrize(("before", "left"), [(41, 0), (90, 45), (3, 1)])
async def test_shrunken_list_is_stated(tmp_path: Path, before: int, left: int) -> None:
    """A short list that lost half of its records since the last export is reported."""
    _, first, again = await _exported_twice(DisturbedList(before), DisturbedList(left), tmp_path, page_size=100)
    assert first == []
    assert "may go on" in again[0]


@pytest.mark.parametrize("lost", [9, 10, 11])
async def test_wrong_pages_in_the_middle_do_not_stop(tmp_path: Path, lost: int) -> None:
    """Pages in the middle that show other records do not stop an export.

    The page before was stored for the answer to this one, so that this one, right as it is, repeats it.
    """

    def next_page(count: int, page: int, answer: Answer) -> Answer:
        return list(range(page * 10, page * 10 + 10)) if count == lost else answer

    found, stated, _ = await export_list(DisturbedList(235, fault=next_page), tmp_path / "out", page_size=10, workers=1)
    assert sorted(found) == list(range(235))
    assert stated["swept_again"] >= 1


def _otherwise_each_time(count: int, _page: int, answer: Answer) -> Answer:
    """Ties in another order at each request."""
    if isinstance(answer, int) or not answer:
        return answer
    turn = count % len(answer)
    return answer[turn:] + answer[:turn]


@pytest.mark.parametrize("shown_again", [1, 3])
async def test_reordered_page_is_the_end(tmp_path: Path, shown_again: int) -> None:
    """A page that is shown again in another order is the end.

    Behind the third and last page, the first one or the last one comes again.
    """

    def shown(count: int, page: int, answer: Answer) -> Answer:
        again = list(range((shown_again - 1) * 10, min(shown_again * 10, 27)))
        return _otherwise_each_time(count, page, again if page > 3 else answer)

    lists = DisturbedList(27, fault=shown)
    found, _, _ = await export_list(lists, tmp_path / "out", page_size=10)
    assert sorted(found) == list(range(27))
    assert len(lists.asked) < 15


async def test_reordered_pages_are_not_offsets(tmp_path: Path) -> None:
    """Pages in another order each time are not mistaken for offsets.

    Number 0 stands for the first page, too, and shows its records in another order.
    """

    def shown(count: int, page: int, answer: Answer) -> Answer:
        return _otherwise_each_time(count, page, list(range(20)) if page == 0 else answer)

    paging = Paging(style="pages", first=0, first_is_known=False, style_is_known=False, largest=None)
    service = replace(NPQ, endpoints=tuple(replace(endpoint, paging=paging, sort=None) for endpoint in NPQ.endpoints))
    found, _, _ = await export_list(DisturbedList(65, fault=shown), tmp_path / "out", service=service, page_size=20)
    assert sorted(found) == list(range(65))


async def test_a_stream_says_that_it_left_records_out(tmp_path: Path) -> None:
    """Page 2 shows a record of page 1 once more, and another one nowhere."""

    def shown(_count: int, page: int, answer: Answer) -> Answer:
        return [0, *range(21, 40)] if page == 2 else answer

    observer = HeardWarnings()
    async with web_server(DisturbedList(50, fault=shown).answer) as url:
        options = list_options(url, tmp_path / "unused", page_size=20)
        rows = [batch.num_rows async for batch in stream_batches(options, observer, QUICK)]
    assert sum(rows) == 49
    assert ["a record may be missing" in warning for warning in observer.warnings] == [True]


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_list_without_records_has_no_second_page(tmp_path: Path, status: int) -> None:
    """Where pages count from is not known: number 0 shows no record, and there is no number 1."""
    paging = Paging(style="pages", first=1, first_is_known=False)
    service = replace(NPQ, endpoints=tuple(replace(endpoint, paging=paging, sort=None) for endpoint in NPQ.endpoints))
    lists = DisturbedList(0, fault=lambda _count, page, _answer: status if page else [], first=0)
    found, stated, _ = await export_list(lists, tmp_path / "out", service=service)
    assert (found, stated["records"]) == ([], 0)


async def test_end_behind_a_cap_is_stated(tmp_path: Path) -> None:
    """An end after a first page of a cap's length is reported."""
    lists = DisturbedList(950, cap=lambda _: 100, fault=lambda count, _page, answer: [] if count == 1 else answer)
    found, stated, warnings = await export_list(lists, tmp_path / "out", page_size=300)
    assert (found, stated["signs_of_change"]) == (list(range(100)), {"suspicious_end": 1})
    assert ["on one page" in warning for warning in warnings] == [True]


def test_page_requested_again_is_not_converted() -> None:
    """A page that is being requested again is not converted yet.

    Its first answer, 10 of 20, turns out to be what the service gives at once; it may be longer yet.
    """
    plan = PagePlanner(20, stride=8)
    asked = [plan.next_page() for _ in range(1)]
    plan.record_response(1, 20)
    for records in (10, 20):
        page = plan.next_page()
        assert page is not None
        asked.append(page)
        plan.record_response(page, records)
    again = plan.next_page()
    assert again in asked
    other = next(page for page in iter(plan.next_page, None) if page > 2)
    plan.record_response(other, 10)
    assert plan.clamp == 10
    assert plan.contiguous < again
    assert plan.keeps(again, 20)
    plan.record_response(again, 20)
    assert plan.count(again) == 20
