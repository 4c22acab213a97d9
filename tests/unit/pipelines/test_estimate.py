"""What an export would cost, simulated through on virtual time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.pipelines.estimate import Cost, EndpointLoad, estimate, further_sweeps, least_requests, most_search


def cost(records: int, page_size: int = 300, **changes: object) -> Cost:
    arguments = {
        "service_limit": Limit(1000, 300),
        "ip_limit": Limit(300, 300),
        "sources": 1,
        "min_interval": 0.1,
        "latency": 0.2,
        "workers": 8,
    }
    return estimate({"declarations": EndpointLoad(records, page_size)}, **(arguments | changes))  # type: ignore[arg-type]


def test_300_000_records_in_five_minutes() -> None:
    """The 300,000 records in five minutes of the service's documentation take four addresses; one manages 90,000."""
    assert cost(299_999, sources=4).seconds < 300
    assert cost(299_999, sources=1).seconds > 900
    assert cost(89_999).seconds < 300


def test_when_each_limit_is_reached() -> None:
    """The cost says when each limit is first reached, None if it never is, and how many requests count towards it."""
    service, address = cost(100_000).windows
    assert service.filled_at is None
    assert address.filled_at == pytest.approx(29.9)
    assert (service.requests, address.requests) == (334, 334)


@given(records=st.integers(0, 5_000), limit=st.integers(1, 50), workers=st.integers(1, 9))
def test_each_period_begins_with_a_full_window(records: int, limit: int, workers: int) -> None:
    """Without latency, as many requests as the limit allows are sent at the start of each period."""
    simulated = cost(
        records,
        page_size=10,
        service_limit=Limit(limit, 60),
        ip_limit=Limit(limit, 60),
        min_interval=0.0,
        latency=0.0,
        workers=workers,
    )
    assert simulated.seconds == pytest.approx((math.ceil(simulated.total / limit) - 1) * 60)


def test_least_requests_and_most_search() -> None:
    """Requests are the least possible, and the search for the end is bounded by the logarithm of the pages."""
    assert [least_requests(records, 300) for records in (0, 1, 299, 300, 301, 600)] == [1, 1, 1, 2, 2, 3]
    assert [most_search(records, 300) for records in (0, 300, 301, 900, 300_000)] == [1, 1, 3, 3, 11]


def test_further_sweeps() -> None:
    """A consistent export sweeps twice more, and once if one response holds all, or if the first sweep was one page."""
    assert [further_sweeps(records, 300, 3_000) for records in (0, 299, 300, 2_999, 3_000, 30_000)] == [
        1,
        1,
        1,
        1,
        4,
        22,
    ]
    assert [further_sweeps(records, 3_000, 3_000) for records in (3_000, 3_001)] == [2, 4]


def test_unpaged_lists() -> None:
    """A list that comes in one response is one request, and a second one to prove it."""
    assert (EndpointLoad(1_000_000, None).requests, EndpointLoad(1_000_000, None).search) == (1, 0)
    assert EndpointLoad(1_000_000, None, 3_000).requests == 2
    assert [EndpointLoad(records, 300, 3_000, asks_twice=False).requests for records in (299, 300)] == [1, 3]
    assert (EndpointLoad(1_000, 300, 3_000).requests, EndpointLoad(1_000, 300).search) == (5, 4)
