"""Page planning: everything is found, and hardly a request is spent on finding the end."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.extract.pagination import PagePlanner, SinglePagePlanner
from bulk_export.extract.paging_facts import PagingFacts
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


drawn_plans = given(
    records=st.integers(0, 300),
    page_size=st.integers(1, 10),
    workers=st.integers(1, 40),
    stride=st.integers(1, 80),
    is_known=st.booleans(),
    pick=st.data(),
)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.large_base_example])
@drawn_plans
def test_waste_is_at_most_one_plus_log2_of_the_pages(**drawn: Any) -> None:
    """Every page is requested, at most one twice, and of all requests `1 + log2(pages)` are wasted at most.

    One more where the service is not known.
    """
    assert_little_waste(**drawn)


@pytest.mark.torture
@settings(deadline=None, max_examples=1_000, suppress_health_check=[HealthCheck.large_base_example])
@drawn_plans
def test_waste_is_little_in_many_plans(**drawn: Any) -> None:
    """Every page is requested, and hardly more, in many more plans."""
    assert_little_waste(**drawn)


def assert_little_waste(
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
    """With any number of workers, if the service is known to honour the page size."""
    assert run(PagePlanner(300, 2 * workers, known=KNOWN), 299, 300, workers, None) == [1]


def test_a_short_first_page_is_looked_behind_once() -> None:
    """Behind a short first page of a service that is not known, one page is requested; the next time none."""
    plan = PagePlanner(300, 16)
    assert run(plan, 299, 300, 8, None) == [1, 2]
    again = PagePlanner(300, 16, known=plan.learned(unfiltered=True))
    assert run(again, 299, 300, 8, None) == [1]


def test_an_empty_endpoint_is_requested_twice() -> None:
    """And only once if it is known to be empty."""
    plan = PagePlanner(300, 16)
    assert run(plan, 0, 300, 8, None) == [1, 1]
    assert run(PagePlanner(300, 16, known=plan.learned(unfiltered=True)), 0, 300, 8, None) == [1]


def test_pages_in_flight_grow_until_workers_are_busy() -> None:
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
def test_stored_pages_are_not_requested_again(records: int, stored: set[int], workers: int) -> None:
    """Pages stored by an earlier run are not requested again, except for the empty one that proves the end."""
    plan = PagePlanner(10, 2 * workers)
    for page in stored:
        plan.record_response(page, serve(records, 10, page))
    requested = run(plan, records, 10, workers, None)
    assert not stored & set(requested) - {math.ceil(records / 10) + 1}
    assert plan.complete
    assert plan.end == math.ceil(records / 10)


def test_a_released_page_is_requested_first() -> None:
    """A released page is requested again before anything else."""
    plan = PagePlanner(10, 4)
    plan.record_response(1, 10)
    assert plan.next_page() == 2
    plan.release(2)
    assert plan.next_page() == 2


def test_records_behind_a_short_page_are_fetched() -> None:
    """Records behind a short page are fetched, and the short page is requested again and reported."""
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
def test_the_longer_of_two_responses_counts(first: int) -> None:
    """Of two responses for a page in the middle, the longer one counts, and only then the page is settled."""
    plan = PagePlanner(10, 8)
    for page, records in [(1, 10), (2, 10), (4, 10), (3, first)]:
        plan.record_response(page, records)
    assert (plan.next_page(), plan.keeps(3, 10), plan.keeps(3, first), plan.contiguous) == (3, True, False, 2)
    plan.record_response(3, 10)
    assert (plan.short_pages(), plan.records, plan.contiguous) == ((), 40, 4)


def test_pages_beyond_the_horizon_are_left() -> None:
    plan = PagePlanner(10, 8)
    for page in (1, 2, 4):
        plan.record_response(page, 10)
    assert plan.next_page(horizon=4) == 3
    assert plan.next_page(horizon=4) is None
    assert plan.next_page(horizon=8) == 8


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data(), workers=st.integers(1, 12))
def test_planning_ends_whatever_comes_back(data: st.DataObject, workers: int) -> None:
    """Whatever a changing service answers, planning ends with every page before the end seen."""
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


def test_an_unpaged_endpoint_is_requested_once() -> None:
    plan = SinglePagePlanner(10)
    assert plan.next_page() == 1
    assert plan.next_page() is None
    plan.release(1)
    assert plan.next_page() == 1
    for page, count in [(1, 10), (2, 10), (3, 4)]:
        plan.record_response(page, count)
    assert (plan.end, plan.complete, plan.records, plan.has_work()) == (3, True, 24, False)


def test_an_empty_unpaged_response_is_an_end() -> None:
    plan = SinglePagePlanner(10)
    plan.next_page()
    plan.record_response(1, 0)
    assert (plan.end, plan.complete) == (0, True)


def test_likely_size() -> None:
    """It is that of the last time until pages show another one, the middle once a page was empty, and then the end."""
    plan = PagePlanner(10, 8)
    assert plan.likely_pages is None
    plan = PagePlanner(10, 8, known=PagingFacts(longest=10, records=41))
    assert plan.likely_pages == 5
    for page in (1, 2, 4, 7):
        plan.record_response(page, 10)
    assert plan.likely_pages == 8
    plan.record_response(15, 0)
    assert plan.likely_pages == 7
    first = PagePlanner(10, 8)
    first.record_response(4, 10)
    first.record_response(12, 0)
    assert first.likely_pages == 8
    first.sample = 3
    assert first.likely_pages == 3
    assert plan.end is None
    plan.record_response(8, 3)
    plan.record_response(9, 0)
    assert plan.likely_pages == plan.end == 8


def test_converted_pages_are_never_asked_for_again() -> None:
    """A short page that ended the list stays as it was converted, although pages arrive behind it in the next run."""
    plan = PagePlanner(5, stride=2)
    plan.record_response(1, 5)
    plan.record_response(2, 1)
    plan.settle(2)
    plan.record_response(3, 5)
    plan.record_response(4, 0)
    asked = []
    while (page := plan.next_page()) is not None:
        asked.append(page)
        plan.record_response(page, 0)
    assert not {1, 2} & set(asked)
    assert plan.end == 3
