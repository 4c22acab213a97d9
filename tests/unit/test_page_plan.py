"""Page planning: everything is found, and hardly a request is spent on finding the end."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.page_plan import EndpointPlan


def serve(records: int, page_size: int, page: int) -> int:
    return max(0, min(page_size, records - (page - 1) * page_size))


def least_requests(records: int, page_size: int) -> int:
    return records // page_size + 1


def run(plan: EndpointPlan, records: int, page_size: int, workers: int, pick: st.DataObject | None) -> list[int]:
    """Requests in order, with `workers` in flight and answers coming back in an arbitrary order."""
    requested: list[int] = []
    in_flight: list[int] = []
    while True:
        while len(in_flight) < workers and (page := plan.take()) is not None:
            requested.append(page)
            in_flight.append(page)
        if not in_flight:
            return requested
        index = 0 if pick is None else pick.draw(st.integers(0, len(in_flight) - 1))
        page = in_flight.pop(index)
        if pick is not None and pick.draw(st.integers(0, 9)) == 0:
            plan.give_back(page)
            requested.remove(page)
        else:
            plan.came_back(page, serve(records, page_size, page))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.large_base_example])
@given(
    records=st.integers(0, 300),
    page_size=st.integers(1, 10),
    workers=st.integers(1, 40),
    stride=st.integers(1, 80),
    pick=st.data(),
)
def test_every_page_is_requested_once_and_the_end_costs_at_most_one_plus_log2_of_the_pages(
    records: int, page_size: int, workers: int, stride: int, pick: st.DataObject
) -> None:
    plan = EndpointPlan(page_size, stride)
    requested = run(plan, records, page_size, workers, pick)
    pages = math.ceil(records / page_size)

    assert plan.complete
    assert plan.end == pages
    assert plan.records == records
    assert plan.short_pages() == ()
    assert len(requested) == len(set(requested))
    assert set(range(1, pages + 1)) <= set(requested)
    waste = len(requested) - least_requests(records, page_size)
    assert 0 <= waste <= (1 + math.log2(pages) if pages > 1 else 0)


@pytest.mark.parametrize("workers", [1, 8, 50])
def test_one_short_page_costs_one_request(workers: int) -> None:
    assert run(EndpointPlan(300, 2 * workers), 299, 300, workers, None) == [1]


def test_an_empty_endpoint_costs_one_request() -> None:
    assert run(EndpointPlan(300, 16), 0, 300, 8, None) == [1]


def test_the_number_of_pages_in_flight_grows_until_all_workers_are_busy() -> None:
    plan = EndpointPlan(10, 64)
    widths = []
    for _ in range(6):
        taken = []
        while (page := plan.take()) is not None:
            taken.append(page)
        widths.append(len(taken))
        for page in taken:
            plan.came_back(page, 10)
    assert widths == [1, 1, 2, 2, 4, 8]


@settings(deadline=None, max_examples=100)
@given(records=st.integers(0, 400), stored=st.sets(st.integers(1, 60)), workers=st.integers(1, 20))
def test_pages_stored_by_an_earlier_run_are_not_requested_again(records: int, stored: set[int], workers: int) -> None:
    plan = EndpointPlan(10, 2 * workers)
    plan.restore((page, serve(records, 10, page)) for page in stored)
    requested = run(plan, records, 10, workers, None)
    assert not stored & set(requested)
    assert plan.complete
    assert plan.end == math.ceil(records / 10)


def test_a_page_given_back_is_requested_again_before_anything_else() -> None:
    plan = EndpointPlan(10, 4)
    plan.came_back(1, 10)
    assert plan.take() == 2
    plan.give_back(2)
    assert plan.take() == 2


def test_records_after_a_short_page_are_fetched_and_the_short_page_is_reported() -> None:
    plan = EndpointPlan(10, 8)
    for page, records in [(1, 10), (2, 10), (4, 10), (3, 7)]:
        plan.came_back(page, records)
    assert plan.end is None
    assert plan.short_pages() == (3,)
    assert plan.take() == 8
    plan.came_back(8, 0)
    while not plan.complete:
        page = plan.take()
        assert page is not None
        plan.came_back(page, 4 if page == 5 else 0)
    assert plan.end == 5


def test_nothing_beyond_the_horizon_is_taken() -> None:
    plan = EndpointPlan(10, 8)
    for page in (1, 2, 4):
        plan.came_back(page, 10)
    assert plan.take(horizon=4) == 3
    assert plan.take(horizon=4) is None
    assert plan.take(horizon=8) == 8


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.large_base_example])
@given(data=st.data(), workers=st.integers(1, 12))
def test_whatever_a_changing_service_answers_planning_ends_with_every_page_before_the_end_seen(
    data: st.DataObject, workers: int
) -> None:
    plan = EndpointPlan(5, 2 * workers)
    in_flight: list[int] = []
    for _ in range(400):
        while len(in_flight) < workers and (page := plan.take()) is not None:
            in_flight.append(page)
        if not in_flight:
            break
        page = in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1)))
        plan.came_back(page, data.draw(st.integers(0, 5)) if page < 60 else 0)
    assert plan.complete
    assert plan.contiguous >= (plan.end or 0)
