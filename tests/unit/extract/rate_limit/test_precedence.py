"""Limiters of one process in order, on virtual time: within all limits, in the least time, and half-read the least."""

from __future__ import annotations

import itertools

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.precedence import Precedence, Turn
from tests.support.limiters_in_order import Run, in_order, send
from tests.support.planned_requests import SERVICE, assert_within, limit_values, make_limits
from tests.support.sliding_log import most_in_any_window
from tests.support.virtual_time import run_virtually


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(
    counts=st.lists(st.integers(1, 15), min_size=1, max_size=4),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    latency=st.sampled_from([0.0, 0.3, 2.0]),
    min_interval=st.sampled_from([0.0, 0.1, 2.0]),
    most_in_flight=st.integers(1, 6),
)
def test_all_limits_are_kept(
    counts: list[int],
    service: Limit,
    address: Limit,
    sources: int,
    latency: float,
    min_interval: float,
    most_in_flight: int,
) -> None:
    """Each token stays within its limit, all together within those of the addresses, the interval and the bound."""
    run = in_order(
        counts,
        service,
        address,
        sources,
        latency=latency,
        min_interval=min_interval,
        most_in_flight=most_in_flight,
    )
    assert [len(log) for log in run.logs] == counts
    for log in run.logs:
        assert_within(log, service, address, 0.0)
    for source in {one.source for one in run.all}:
        moments = [one.counted for one in run.all if one.source == source]
        assert most_in_any_window(sorted(moments), address.period) <= address.requests
    starts = sorted(one.sent for one in run.all)
    assert all(later - earlier >= min_interval - 1e-6 for earlier, later in itertools.pairwise(starts))
    assert run.most_in_flight <= most_in_flight


def test_one_after_the_other_under_one_address() -> None:
    """If one can use all permits of the address, the next one begins when it is done."""
    run = in_order([40, 40, 40], Limit(100, 30), Limit(10, 30), min_interval=0.1)
    for number in (1, 2):
        assert min(one.sent for one in run.logs[number]) >= max(one.sent for one in run.logs[number - 1])
    # 120 requests, 10 in each period.
    assert run.finished(2) == pytest.approx(11 * 30, abs=10)


def test_what_the_first_cannot_use_goes_to_the_next() -> None:
    """Several addresses allow more than one token may send: then several are served at once, and no permit is lost."""
    run = in_order([40, 40, 40, 40], Limit(10, 30), Limit(10, 30), sources=4, min_interval=0.1)
    assert max(run.finished(number) for number in range(4)) == pytest.approx(3 * 30, abs=10)


def test_throttled_one_lets_others_pass() -> None:
    """While the first waits out a 429, those behind it go on."""
    ended: list[str] = []

    async def main() -> None:
        queue, limits = Precedence(8).queue_of(SERVICE), make_limits(Limit(100, 30), Limit(10, 30))

        def limiter(number: int) -> RateLimiter:
            ledger = MemoryLedger(limits, anyio.current_time, addresses=queue.windows(30))
            turn = Turn(queue, number, 0.0, limits)
            return RateLimiter(InlineAsyncLedger(ledger), limits, wall=lambda: 0.0, uniform=lambda: 0.5, turn=turn)

        first, second = limiter(0), limiter(1)
        await first.report_throttled(await first.acquire(), retry_after="20", date=None)

        async def ask(name: str, one: RateLimiter) -> None:
            permit = await one.acquire()
            ended.append(name)
            await one.release(permit, RequestOutcome.ANSWERED)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "first", first)
            tasks.start_soon(ask, "second", second)

    run_virtually(main)
    assert ended == ["second", "first"]


def test_cancelled_one_leaves_the_queue() -> None:
    """Whoever is cancelled, before its turn or in it, holds up nobody."""

    async def main() -> None:
        queue, limits = Precedence(1).queue_of(SERVICE), make_limits(Limit(100, 30), Limit(1, 30))

        def limiter(number: int) -> RateLimiter:
            ledger = MemoryLedger(limits, anyio.current_time, addresses=queue.windows(30))
            turn = Turn(queue, number, 0.0, limits)
            return RateLimiter(InlineAsyncLedger(ledger), limits, wall=lambda: 0.0, uniform=lambda: 0.5, turn=turn)

        limiters = [limiter(number) for number in range(3)]
        permit = await limiters[2].acquire()
        for one in limiters[:2]:
            with anyio.move_on_after(1):
                await one.acquire()
        await limiters[2].release(permit, RequestOutcome.UNSENT)
        permit = await limiters[2].acquire()
        await limiters[2].release(permit, RequestOutcome.ANSWERED)
        for one in limiters[:2]:
            with anyio.move_on_after(1):
                await one.acquire()
        assert anyio.current_time() < 5
        await limiters[2].acquire()

    run_virtually(main)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    ends=st.lists(st.none() | st.floats(0, 20), min_size=2, max_size=4),
    service=limit_values,
    address=limit_values,
    most_in_flight=st.integers(1, 4),
)
def test_cancelled_at_any_moment(ends: list[float | None], service: Limit, address: Limit, most_in_flight: int) -> None:
    """Whenever some are cancelled and close, the others send everything."""
    run = Run()

    async def main() -> None:
        precedence = Precedence(most_in_flight)

        async def one(number: int, end: float | None) -> None:
            queue, limits = precedence.queue_of(SERVICE), make_limits(service, address)
            ledger = MemoryLedger(limits, anyio.current_time, addresses=queue.windows(address.period))
            turn = Turn(queue, number, 0.1, limits)
            limiter = RateLimiter(InlineAsyncLedger(ledger), limits, wall=lambda: 0.0, uniform=lambda: 0.5, turn=turn)
            with anyio.move_on_after(None if end is None else end):
                await send(limiter, 12, 3, 0.3, run, run.logs[number])
            await limiter.aclose()

        async with anyio.create_task_group() as tasks:
            for number, end in enumerate(ends):
                run.logs.append([])
                tasks.start_soon(one, number, end)

    run_virtually(main)
    assert all(len(log) == 12 for log, end in zip(run.logs, ends, strict=True) if end is None)


def test_services_do_not_wait_for_each_other() -> None:
    """Each service has a queue of its own; names of one service have one."""
    precedence = Precedence(8)
    assert precedence.queue_of("https://one.example") is precedence.queue_of("HTTPS://one.example:443/")
    assert precedence.queue_of("https://one.example") is not precedence.queue_of("https://two.example")


def test_service_that_hangs_leaves_others_their_share() -> None:
    """However many requests hang at one service, another one gets its share of those in flight."""

    async def main() -> int:
        precedence, limits = Precedence(4), make_limits(Limit(100, 30), Limit(100, 30))

        def limiter(url: str, number: int) -> RateLimiter:
            ledger = MemoryLedger(limits, anyio.current_time)
            turn = Turn(precedence.queue_of(url), number, 0.0, limits)
            return RateLimiter(InlineAsyncLedger(ledger), limits, wall=lambda: 0.0, uniform=lambda: 0.5, turn=turn)

        hanging, other = limiter("https://hanging.example", 0), limiter("https://other.example", 1)
        for _ in range(4):
            await hanging.acquire()
        granted = 0
        for one in (other, other, other, hanging):
            with anyio.move_on_after(1):
                await one.acquire()
                granted += 1
        return granted

    assert run_virtually(main) == 2
