"""What an export would cost, simulated through on virtual time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.pipelines.estimate import Cost, estimate
from bulk_export.pipelines.request_counts import EndpointLoad


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
