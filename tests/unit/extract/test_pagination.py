"""Page planning: everything is found, and hardly a request is spent on finding the end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Paging
from bulk_export.errors import ServiceFailing
from bulk_export.extract.pagination import PagePlanner, SinglePagePlanner
from bulk_export.extract.paging_facts import PagingFacts, parse_sweep_state
from bulk_export.extract.sweep import Sweep
from bulk_export.services.catalogue import load_service

KNOWN = PagingFacts(longest=300)
NPQ_APPLICATIONS = replace(load_service("npq").endpoints[0], sort=None)


def serve(records: int, page_size: int, page: int) -> int:
    return max(0, min(page_size, records - (page - 1) * page_size))


def least_requests(records: int, page_size: int) -> int:
    return records // page_size + 1


def run(plan: PagePlanner, records: int, page_size: int, workers: int, pick: st.DataObject | None) -> list[int]:
    """Requests in order, with `workers` in flight and answers coming back in an arbitrary order."""
    requested: list[int] = []
    in_flight: list[int] = []
    while True:
        while len(in_flight) < workers and (page := plan.next_page()) is not None:
            requested.append(page)
            in_flight.append(page)
        if not in_flight:
            return requested
        index = 0 if pick is None else pick.draw(st.integers(0, len(in_flight) - 1))
        page = in_flight.pop(index)
        if pick is not None and pick.draw(st.integers(0, 9)) == 0:
            plan.release(page)
            requested.remove(page)
        else:
            plan.record_response(page, serve(records, page_size, page))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.large_base_example])
@given(
    records=st.integers(0, 300),
    page_size=st.integers(1, 10),
    workers=st.integers(1, 40),
    stride=st.integers(1, 80),
    is_known=st.booleans(),
    pick=st.data(),
)
def test_every_page_is_requested_once_and_the_end_costs_at_most_one_plus_log2_of_the_pages(
    records: int, page_size: int, workers: int, stride: int, is_known: bool, pick: st.DataObject
) -> None:
    plan = PagePlanner(page_size, stride, known=KNOWN if is_known else PagingFacts())
    requested = run(plan, records, page_size, workers, pick)
    pages = math.ceil(records / page_size)

    assert plan.complete
    assert plan.end == pages
    assert plan.records == records
    assert plan.short_pages() == ()
    # Behind a full page, and where there is no record at all, one empty answer is no proof.
    assert Counter(requested)[pages + 1] == 2 or records % page_size
    assert set(range(1, pages + 1)) <= set(requested)
    assert len(requested) - len(set(requested)) <= 1
    waste = len(requested) - least_requests(records, page_size)
    assert 0 <= waste <= 1 + math.log2(max(1, pages)) + (not is_known)


@pytest.mark.parametrize("workers", [1, 8, 50])
def test_one_short_page_costs_one_request(workers: int) -> None:
    assert run(PagePlanner(300, 2 * workers, known=KNOWN), 299, 300, workers, None) == [1]


def test_a_short_first_page_of_a_service_that_is_not_known_is_looked_behind_once() -> None:
    plan = PagePlanner(300, 16)
    assert run(plan, 299, 300, 8, None) == [1, 2]
    again = PagePlanner(300, 16, known=plan.learned(unfiltered=True))
    assert run(again, 299, 300, 8, None) == [1]


def test_an_empty_endpoint_is_asked_twice_and_only_once_when_it_is_known_to_be_empty() -> None:
    plan = PagePlanner(300, 16)
    assert run(plan, 0, 300, 8, None) == [1, 1]
    assert run(PagePlanner(300, 16, known=plan.learned(unfiltered=True)), 0, 300, 8, None) == [1]


def test_the_number_of_pages_in_flight_grows_until_all_workers_are_busy() -> None:
    plan = PagePlanner(10, 64)
    widths = []
    for _ in range(6):
        taken = []
        while (page := plan.next_page()) is not None:
            taken.append(page)
        widths.append(len(taken))
        for page in taken:
            plan.record_response(page, 10)
    assert widths == [1, 1, 2, 2, 4, 8]


@settings(deadline=None, max_examples=60)
@given(records=st.integers(0, 400), stored=st.sets(st.integers(1, 60)), workers=st.integers(1, 20))
def test_pages_stored_by_an_earlier_run_are_not_requested_again(records: int, stored: set[int], workers: int) -> None:
    plan = PagePlanner(10, 2 * workers)
    for page in stored:
        plan.record_response(page, serve(records, 10, page))
    requested = run(plan, records, 10, workers, None)
    assert not stored & set(requested) - {math.ceil(records / 10) + 1}
    assert plan.complete
    assert plan.end == math.ceil(records / 10)


def test_a_page_given_back_is_requested_again_before_anything_else() -> None:
    plan = PagePlanner(10, 4)
    plan.record_response(1, 10)
    assert plan.next_page() == 2
    plan.release(2)
    assert plan.next_page() == 2


def test_records_after_a_short_page_are_fetched_and_the_short_page_is_reported() -> None:
    plan = PagePlanner(10, 8)
    for page, records in [(1, 10), (2, 10), (4, 10), (3, 7)]:
        plan.record_response(page, records)
    assert plan.end is None
    assert plan.short_pages() == (3,)
    assert plan.next_page() == 3
    plan.record_response(3, 7)
    assert plan.next_page() == 8
    plan.record_response(8, 0)
    while not plan.complete:
        page = plan.next_page()
        assert page is not None
        plan.record_response(page, 4 if page == 5 else 0)
    assert plan.end == 5
    assert plan.short_pages() == (3,)


@pytest.mark.parametrize("first", [0, 1, 7])
def test_of_two_answers_for_a_page_in_the_middle_the_longer_one_counts(first: int) -> None:
    plan = PagePlanner(10, 8)
    for page, records in [(1, 10), (2, 10), (4, 10), (3, first)]:
        plan.record_response(page, records)
    assert (plan.next_page(), plan.keeps(3, 10), plan.keeps(3, first), plan.contiguous) == (3, True, False, 2)
    plan.record_response(3, 10)
    assert (plan.short_pages(), plan.records, plan.contiguous) == ((), 40, 4)


def test_nothing_beyond_the_horizon_is_taken() -> None:
    plan = PagePlanner(10, 8)
    for page in (1, 2, 4):
        plan.record_response(page, 10)
    assert plan.next_page(horizon=4) == 3
    assert plan.next_page(horizon=4) is None
    assert plan.next_page(horizon=8) == 8


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data(), workers=st.integers(1, 12))
def test_whatever_a_changing_service_answers_planning_ends_with_every_page_before_the_end_seen(
    data: st.DataObject, workers: int
) -> None:
    plan = PagePlanner(5, 2 * workers)
    in_flight: list[int] = []
    for _ in range(400):
        while len(in_flight) < workers and (page := plan.next_page()) is not None:
            in_flight.append(page)
        if not in_flight:
            break
        page = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        plan.record_response(page, data.draw(st.integers(0, 5)) if page < 60 else 0)
    assert plan.complete
    assert plan.contiguous >= (plan.end or 0)


class ClampingServer:
    """Shows at most `largest` records at once; with `repeats`, its last page for all pages past the end."""

    def __init__(self, records: int, largest: int, style: str, *, repeats: bool) -> None:
        self._records = range(records)
        self._largest = largest
        self._style = style
        self._repeats = repeats

    def get(self, sweep: Sweep, page: int) -> list[bytes]:
        query = dict(parse_qsl(sweep.target(page).partition("?")[2]))
        size = min(int(query["size"]), self._largest)
        first = int(query["number"]) if self._style == "offset" else (int(query["number"]) - 1) * size
        if self._repeats and self._records and first >= len(self._records):
            first = (len(self._records) - 1) // size * size
        return [b"{%d}" % number for number in self._records[first : first + size]]


def sweep_over(page_size: int, workers: int, style: Literal["pages", "offset"]) -> Sweep:
    first = 0 if style == "offset" else 1
    paging = Paging(style, "number", "size", first, largest=None)
    return Sweep(
        replace(NPQ_APPLICATIONS, paging=paging), number=0, page_size=page_size, stride=2 * workers, filters=()
    )


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.large_base_example])
@given(
    records=st.integers(0, 120),
    page_size=st.integers(2, 12),
    largest=st.integers(2, 12),
    style=st.sampled_from(["pages", "offset"]),
    repeats=st.booleans(),
    workers=st.integers(1, 12),
    pick=st.data(),
)
def test_a_clamp_nobody_described_loses_no_record_and_fetches_none_twice(
    records: int,
    page_size: int,
    largest: int,
    style: Literal["pages", "offset"],
    repeats: bool,
    workers: int,
    pick: st.DataObject,
) -> None:
    at_once = min(page_size, largest)
    if repeats and records < at_once:
        repeats = False  # a page as full as asked for says nothing by repeating
    server = ClampingServer(records, largest, style, repeats=repeats and records > at_once)
    sweep = sweep_over(page_size, workers, style)
    pages: dict[int, list[bytes]] = {}
    in_flight: list[int] = []
    requests = 0
    while True:
        while len(in_flight) < (workers if pages else 1) and (page := sweep.plan.next_page()) is not None:
            in_flight.append(page)
            requests += 1
        if not in_flight:
            break
        page = in_flight.pop(pick.draw(st.integers(0, len(in_flight) - 1)))
        answer = server.get(sweep, page)
        if sweep.should_store(page, answer):
            pages[page] = answer
        sweep.record_response(page, answer)

    assert sweep.plan.complete
    assert sweep.plan.end == math.ceil(records / at_once)
    assert [record for page in range(1, sweep.plan.end + 1) for record in pages[page]] == [
        b"{%d}" % number for number in range(records)
    ]
    assert sweep.plan.records == records
    assert sweep.plan.short_pages() == ()
    if not repeats:
        assert requests <= sweep.plan.end + 5 + math.log2(max(1, sweep.plan.end))
    assert sweep.plan.clamp == (at_once if at_once < page_size and records > at_once else None)
    assert not sweep.plan.is_mixed
    again = sweep_over(page_size, workers, style)
    stored = [(page, len(records_)) for page, records_ in sorted(pages.items())]
    again.restore(
        stored,
        lambda key: b'{"data":[' + b",".join(b'{"a":"%s"}' % one for one in pages[key.page]) + b"]}",
        state=parse_sweep_state(sweep.state()),
    )
    assert (again.plan.end, again.plan.records, again.plan.complete) == (sweep.plan.end, records, True)


def test_a_service_that_shows_a_full_first_page_for_ever_is_not_taken_at_its_word() -> None:
    sweep = sweep_over(3, 1, "pages")
    page = [b"{1}", b"{2}", b"{3}"]
    for number in (1, 2):
        sweep.should_store(number, page)
        sweep.record_response(number, page)
    assert sweep.plan.end is None
    assert sweep.plan.next_page() == 2
    with pytest.raises(ServiceFailing, match="again and again"):
        sweep.should_store(2, page)


def test_a_short_first_page_that_repeats_is_all_there_is_and_that_is_said() -> None:
    sweep = sweep_over(10, 1, "pages")
    page = [b"{1}", b"{2}"]
    assert not sweep.record_response(1, page)
    assert sweep.record_response(2, page)
    assert (sweep.plan.end, sweep.plan.complete) == (1, True)
    assert sweep.has_suspicious_end


def test_what_comes_at_once_is_asked_for_once() -> None:
    plan = SinglePagePlanner(10)
    assert plan.next_page() == 1
    assert plan.next_page() is None
    plan.release(1)
    assert plan.next_page() == 1
    for page, count in [(1, 10), (2, 10), (3, 4)]:
        plan.record_response(page, count)
    assert (plan.end, plan.complete, plan.records, plan.has_work()) == (3, True, 24, False)


def test_nothing_at_once_is_an_end_too() -> None:
    plan = SinglePagePlanner(10)
    plan.next_page()
    plan.record_response(1, 0)
    assert (plan.end, plan.complete) == (0, True)
