"""The rate limiter on virtual time: never more than the limits as the service counts, and no time wasted."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome
from tests.support.planned_requests import (
    Planned,
    assert_within,
    at_once,
    gaps,
    least_time,
    limit_values,
    limiter_in_memory,
    make_limits,
    request_lists,
    run_requests,
)
from tests.support.virtual_time import run_virtually


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 4),
    requests=request_lists,
    workers=st.integers(1, 12),
    offset=st.floats(0, 10),
    min_interval=st.sampled_from([0.0, 0.0, 0.1, 2.0]),
)
# An interval that is over but for a rounding error, at the moment of a timer.
@example(
    service=Limit(5, 1.0),
    address=Limit(1, 10.0),
    sources=2,
    requests=[
        Planned(5e-324, 6.821219965113848e-77, RequestOutcome.ANSWERED, 0.0, 0.0),
        Planned(5e-324, 6.821219965113848e-77, RequestOutcome.ANSWERED, 0.0, 0.0),
        Planned(4.171221523884736, 0.40493397034243117, RequestOutcome.ANSWERED, 0.0, 0.0),
        Planned(5.26841061064853, 0.24091698736010386, RequestOutcome.ANSWERED, 0.0, 0.0),
        Planned(0.24611465668222815, 0.22344193366119863, RequestOutcome.ANSWERED, 0.0, 0.0),
        Planned(5.06212841499982, 0.24611465668222815, RequestOutcome.UNSENT, 0.0, 0.0),
    ],
    workers=8,
    offset=2.6233268449938345,
    min_interval=0.1,
)
def test_limits_are_never_exceeded(
    service: Limit,
    address: Limit,
    sources: int,
    requests: list[Planned],
    workers: int,
    offset: float,
    min_interval: float,
) -> None:
    """No window of the service, rolling or fixed, ever holds more requests than the limit."""
    log = run_requests(
        lambda: limiter_in_memory(make_limits(service, address, sources), min_interval), requests, workers
    )
    assert len(log) == sum(1 for one in requests if one.outcome is not RequestOutcome.UNSENT)
    assert_within(log, service, address, offset)
    assert all(gap >= min_interval - 1e-6 for gap in gaps(log))


@settings(deadline=None, max_examples=120)
@given(
    count=st.integers(1, 60),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 4),
    workers=st.integers(1, 9),
    min_interval=st.sampled_from([0.0, 0.0, 0.05, 0.7]),
)
def test_no_time_is_wasted(
    count: int, service: Limit, address: Limit, sources: int, workers: int, min_interval: float
) -> None:
    """Without latency, requests take the least time that is possible."""
    log = run_requests(
        lambda: limiter_in_memory(make_limits(service, address, sources), min_interval), at_once(count), workers
    )
    least = least_time(count, service, address, sources, min_interval)
    assert max(one.sent for one in log) == pytest.approx(least, abs=1e-4)


def test_free_address_is_used() -> None:
    """Permits go to the address that may send first."""
    log = run_requests(
        lambda: limiter_in_memory(make_limits(Limit(100, 10), Limit(2, 10), sources=3)), at_once(6), workers=1
    )
    assert sorted(one.source or "" for one in log) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2
    assert all(one.sent < 0.001 for one in log)


def test_permit_counts_a_period_after_response() -> None:
    """A request counts until a period after its response, not after its sending."""
    requests = [Planned(3.0, 1.0, RequestOutcome.ANSWERED)] * 3
    log = run_requests(lambda: limiter_in_memory(make_limits(Limit(1, 10), Limit(1, 10))), requests, workers=3)
    assert [one.sent for one in log] == pytest.approx([0, 13, 26], abs=1e-4)


def test_unsent_request_frees_at_once() -> None:
    """A permit that was not used makes room at once."""
    requests = [Planned(0.0, 0.0, RequestOutcome.UNSENT)] * 5 + at_once(1)
    log = run_requests(lambda: limiter_in_memory(make_limits(Limit(1, 10), Limit(1, 10))), requests, workers=3)
    assert [one.sent for one in log] == pytest.approx([0], abs=1e-4)


def test_permits_in_order() -> None:
    """Permits are granted in the order they were asked for."""
    order: list[int] = []

    async def main() -> None:
        limiter = limiter_in_memory(make_limits(Limit(1, 1), Limit(1, 1)))

        async def ask(number: int) -> None:
            permit = await limiter.acquire()
            order.append(number)
            await limiter.release(permit, RequestOutcome.ANSWERED)

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(ask, number)

    run_virtually(main)
    assert order == list(range(10))


def test_cancelled_wait() -> None:
    """A cancelled wait for a permit leaves nothing behind."""

    async def main() -> float:
        limiter = limiter_in_memory(make_limits(Limit(1, 10), Limit(1, 10)))
        permit = await limiter.acquire()
        with anyio.move_on_after(2):
            await limiter.acquire()
        await limiter.release(permit, RequestOutcome.ANSWERED)
        await limiter.acquire()
        return anyio.current_time()

    assert run_virtually(main) == pytest.approx(12, abs=1e-4)


def test_cancelled_spacing_releases_permit() -> None:
    """A claimed permit is released if the wait for the least interval is cancelled."""

    async def main() -> tuple[int, float]:
        limiter = limiter_in_memory(make_limits(Limit(2, 100), Limit(2, 100)), min_interval=5.0)
        await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        with anyio.move_on_after(2):
            await limiter.acquire()
        await limiter.acquire()
        return limiter.windows()[0].used, anyio.current_time()

    assert run_virtually(main) == (2, pytest.approx(5, abs=1e-4))


def test_second_release_is_ignored() -> None:
    """Releasing a permit twice, or one of another limiter, changes nothing."""

    async def main() -> list[int]:
        limiter = limiter_in_memory(make_limits(Limit(3, 10), Limit(3, 10)))
        permit = await limiter.acquire()
        await limiter.release(permit, RequestOutcome.ANSWERED)
        await limiter.release(permit, RequestOutcome.UNSENT)
        other = limiter_in_memory(make_limits(Limit(3, 10), Limit(3, 10)))
        await limiter.release(await other.acquire(), RequestOutcome.UNSENT)
        await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        return [window.used for window in limiter.windows()]

    assert run_virtually(main) == [2, 2]


def test_windows_show_usage() -> None:
    """The usage of each window is shown, with the time until it admits another request."""

    async def main() -> list[tuple[str | None, int, float]]:
        limiter = limiter_in_memory(make_limits(Limit(3, 10), Limit(2, 10), sources=2))
        for _ in range(3):
            await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
            await anyio.sleep(1)
        with anyio.move_on_after(1):
            await limiter.acquire()
        return [(one.address, one.used, round(one.next_free_in, 3)) for one in limiter.windows()]

    assert run_virtually(main) == [(None, 3, 6.0), ("127.0.0.1", 2, 6.0), ("127.0.0.2", 1, 0.0)]


def test_throttling_is_told() -> None:
    """After a 429 it tells for how long nothing is sent, and how much the service lets through then; nothing before."""

    async def main() -> list[tuple[float, float | None]]:
        limiter = limiter_in_memory(make_limits(Limit(20, 10), Limit(20, 10)))
        told = []

        def tell() -> None:
            ceiling = limiter.ceiling()
            told.append((round(limiter.held_for(), 2), None if ceiling is None else round(ceiling.requests, 2)))

        for _ in range(4):
            await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        tell()
        await limiter.report_throttled(await limiter.acquire(), retry_after="5", date=None)
        tell()
        await anyio.sleep(3)
        tell()
        probe = await limiter.acquire()
        # The probe is on its way: nobody knows for how long.
        tell()
        assert limiter.windows()[0].next_free_in == 0.0
        await limiter.release(probe, RequestOutcome.ANSWERED)
        await anyio.sleep(5)
        tell()
        return told

    before, held, later, probing, after = run_virtually(main)
    assert before == (0.0, None)
    assert held == (pytest.approx(5.5, abs=0.6), 4.0)
    assert later == (pytest.approx(held[0] - 3, abs=0.01), 4.0)
    assert probing == (0.0, 4.0)
    # A tenth of the limit with each period.
    assert after == (0.0, pytest.approx(5.0, abs=0.01))
