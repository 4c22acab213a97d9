"""When an export would be done, simulated on virtual time under the rules of a real one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome
from bulk_export.pipelines.simulation import schedule
from tests.support.planned_requests import (
    Planned,
    least_time,
    limit_values,
    limiter_in_memory,
    make_limits,
    run_requests,
)

SERVICE, ADDRESS = Limit(1000, 300), Limit(300, 300)


def test_300_000_records_in_one_period() -> None:
    """Four addresses manage the 1,000 requests of the service's documentation well within one period."""
    simulated = schedule(1000, service_limit=SERVICE, address_limit=ADDRESS, addresses=4, min_interval=0.1, latency=0.5)
    assert simulated.sent_last == pytest.approx(99.9)
    assert simulated.finished == pytest.approx(100.4)
    common, *addresses = simulated.windows
    assert (common.address, common.limit, common.requests) == (None, SERVICE, 1000)
    assert common.filled_at == pytest.approx(99.9)
    assert [(window.address, window.requests, window.filled_at) for window in addresses] == [
        (number, 250, None) for number in range(1, 5)
    ]


def test_one_address_fills_its_window() -> None:
    """A single address reaches its limit in each period, and waits for the rest of it."""
    simulated = schedule(700, service_limit=SERVICE, address_limit=ADDRESS, min_interval=0.1, latency=0.5)
    _, address = simulated.windows
    assert address.filled_at == pytest.approx(29.9)
    (first, second), (third, fourth) = simulated.pauses
    assert (first, second, third, fourth) == pytest.approx((30.0, 300.5, 330.5, 601.0), abs=0.2)
    assert simulated.finished == pytest.approx(611.4, abs=0.2)


@settings(deadline=None, max_examples=100)
@given(
    count=st.integers(0, 60),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 4),
    workers=st.integers(1, 9),
    min_interval=st.sampled_from([0.0, 0.1]),
)
def test_the_least_possible_time(
    count: int, service: Limit, address: Limit, sources: int, workers: int, min_interval: float
) -> None:
    """Without latency, no schedule under these limits could be shorter."""
    simulated = schedule(
        count,
        service_limit=service,
        address_limit=address,
        addresses=sources,
        min_interval=min_interval,
        workers=workers,
    )
    least = least_time(count, service, address, sources, min_interval) if count else 0.0
    assert simulated.finished == pytest.approx(least, abs=1e-6)
    assert sum(window.requests for window in simulated.windows[1:]) == count


@settings(deadline=None, max_examples=60)
@given(
    latencies=st.lists(st.floats(0, 7), max_size=40),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    workers=st.integers(1, 6),
)
def test_it_agrees_with_the_rate_limiter(
    latencies: list[float], service: Limit, address: Limit, sources: int, workers: int
) -> None:
    """Whatever the latencies, the real limiter needs the time that the simulation foretells."""
    latency = itertools.chain(latencies)
    simulated = schedule(
        len(latencies),
        service_limit=service,
        address_limit=address,
        addresses=sources,
        latency=latency.__next__,
        workers=workers,
    )
    requests = [Planned(one, 0.0, RequestOutcome.ANSWERED) for one in latencies]
    log = run_requests(lambda: limiter_in_memory(make_limits(service, address, sources)), requests, workers)
    assert simulated.finished == pytest.approx(max((one.over for one in log), default=0.0), abs=1e-3)
