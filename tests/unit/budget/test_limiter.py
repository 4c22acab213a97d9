"""The budget on virtual time: never more than the limits as the service counts, and never a slot unused."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.budget import Budget, Outcome
from bulk_export.errors import ServiceFailing
from bulk_export.model import Limit
from tests.sliding_log import most_in_any_fixed_window, most_in_any_window
from tests.virtual_time import run_virtually


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent, when the service counted it, when it was over, and from where."""

    sent: float
    counted: float
    over: float
    source: str | None


def budget(service: Limit, ip: Limit, sources: int = 1, min_interval: float = 0.0) -> Budget:
    return Budget(
        service,
        ip,
        sources=[f"127.0.0.{number}" for number in range(1, sources + 1)],
        min_interval=min_interval,
        wall=lambda: 0.0,
        uniform=lambda: 0.5,
    )


def play(made: Budget, latencies: list[tuple[float, float, Outcome]], workers: int) -> list[Sent]:
    """Send a request for each (latency, part of it after which it counts, outcome), with some workers."""
    log: list[Sent] = []
    waiting = list(reversed(latencies))

    async def worker() -> None:
        while waiting:
            latency, part, outcome = waiting.pop()
            slot = await made.acquire()
            sent = anyio.current_time()
            if outcome is not Outcome.UNSENT:
                await anyio.sleep(latency)
                log.append(Sent(sent, sent + part * (anyio.current_time() - sent), anyio.current_time(), slot.source))
            await made.settle(slot, outcome)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(worker)

    run_virtually(main)
    return log


limits = st.builds(Limit, st.integers(1, 8), st.sampled_from([1.0, 5.0, 10.0]))
requests = st.lists(
    st.tuples(
        st.floats(0, 7),
        st.floats(0, 1),
        st.sampled_from([Outcome.ANSWERED, Outcome.ANSWERED, Outcome.FAILED, Outcome.UNSENT]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limits,
    ip=limits,
    sources=st.integers(1, 4),
    latencies=requests,
    workers=st.integers(1, 12),
    offset=st.floats(0, 10),
)
def test_no_window_of_the_services_ever_holds_more_than_the_limit(
    service: Limit,
    ip: Limit,
    sources: int,
    latencies: list[tuple[float, float, Outcome]],
    workers: int,
    offset: float,
) -> None:
    log = play(budget(service, ip, sources), latencies, workers)
    counted = [one.counted for one in log]
    assert len(log) == sum(1 for _, _, outcome in latencies if outcome is not Outcome.UNSENT)
    assert most_in_any_window(counted, service.period) <= service.requests
    assert most_in_any_fixed_window(counted, service.period, offset) <= service.requests
    for source in {one.source for one in log}:
        own = [one.counted for one in log if one.source == source]
        assert most_in_any_window(own, ip.period) <= ip.requests
        assert most_in_any_fixed_window(own, ip.period, offset) <= ip.requests


@settings(deadline=None, max_examples=80)
@given(count=st.integers(1, 60), service=limits, ip=st.integers(1, 8), sources=st.integers(1, 4))
def test_without_latency_no_time_is_wasted(count: int, service: Limit, ip: int, sources: int) -> None:
    """With one period for both limits, a whole window's worth goes out at the start of each period."""
    log = play(budget(service, Limit(ip, service.period), sources), [(0.0, 0.0, Outcome.ANSWERED)] * count, workers=9)
    each_window = min(service.requests, ip * sources)
    least = (math.ceil(count / each_window) - 1) * service.period
    assert max(one.sent for one in log) == pytest.approx(least, abs=1e-4)


def test_slots_go_to_the_address_that_may_send_first() -> None:
    log = play(budget(Limit(100, 10), Limit(2, 10), sources=3), [(0.0, 0.0, Outcome.ANSWERED)] * 6, workers=1)
    assert sorted(one.source or "" for one in log) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2
    assert all(one.sent < 0.001 for one in log)


def test_requests_keep_their_distance() -> None:
    log = play(budget(Limit(5, 10), Limit(5, 10), min_interval=0.1), [(0.3, 0.5, Outcome.ANSWERED)] * 12, workers=8)
    gaps = [after.sent - before.sent for before, after in itertools.pairwise(log)]
    assert min(gaps) >= 0.1 - 1e-6


def test_a_slot_is_free_again_a_period_after_the_answer_and_not_after_the_sending() -> None:
    log = play(budget(Limit(1, 10), Limit(1, 10)), [(3.0, 1.0, Outcome.ANSWERED)] * 3, workers=3)
    assert [one.sent for one in log] == pytest.approx([0, 13, 26], abs=1e-4)


def test_slots_are_given_in_the_order_they_were_asked_for() -> None:
    order: list[int] = []
    made = budget(Limit(1, 1), Limit(1, 1))

    async def ask(number: int) -> None:
        slot = await made.acquire()
        order.append(number)
        await made.settle(slot, Outcome.ANSWERED)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(ask, number)

    run_virtually(main)
    assert order == list(range(10))


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    made = budget(Limit(1, 10), Limit(1, 10))

    async def main() -> float:
        slot = await made.acquire()
        with anyio.move_on_after(2):
            await made.acquire()
        await made.settle(slot, Outcome.ANSWERED)
        await made.acquire()
        return anyio.current_time()

    assert run_virtually(main) == pytest.approx(12, abs=1e-4)


def test_the_use_of_each_window_is_shown() -> None:
    made = budget(Limit(3, 10), Limit(2, 10), sources=2)

    async def main() -> list[tuple[str | None, int, float]]:
        for _ in range(2):
            await made.settle(await made.acquire(), Outcome.ANSWERED)
            await anyio.sleep(1)
        await made.settle(await made.acquire(), Outcome.ANSWERED)
        return [(one.address, one.used, round(one.next_free_in, 3)) for one in made.windows()]

    assert run_virtually(main) == [(None, 3, 8.0), ("127.0.0.1", 2, 8.0), ("127.0.0.2", 1, 0.0)]


class Refusing:
    """A service that refuses while `refusing(now)`; what it saw is kept."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.seen: list[tuple[float, int]] = []

    async def send(self, made: Budget, retry_after: str | None = None) -> None:
        slot = await made.acquire()
        await anyio.sleep(0.05)
        now = anyio.current_time()
        if now < self.until:
            self.seen.append((now, 429))
            await made.refused(slot, retry_after=retry_after, date=None)
        else:
            self.seen.append((now, 200))
            await made.settle(slot, Outcome.ANSWERED)


@pytest.mark.parametrize("retry_after", [None, "7"])
def test_after_a_refusal_everybody_holds_and_one_request_probes(retry_after: str | None) -> None:
    made = budget(Limit(1000, 300), Limit(1000, 300))
    service = Refusing(until=20.0)

    async def worker() -> None:
        for _ in range(30):
            await service.send(made, retry_after)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(worker)

    run_virtually(main)
    refused = [moment for moment, status in service.seen if status == 429]
    first_burst = [moment for moment in refused if moment < 0.2]
    probes = [moment for moment in refused if moment >= 0.2]
    assert len(first_burst) == 8
    assert 1 <= len(probes) <= 6
    assert all(after - before > 1 for before, after in itertools.pairwise(probes))
    assert made.throttled == len(refused)
    if retry_after:
        assert probes[0] >= 7


def test_a_service_that_never_lets_in_is_given_up() -> None:
    made = budget(Limit(1000, 10), Limit(1000, 10))
    service = Refusing(until=math.inf)

    async def main() -> None:
        while True:
            await service.send(made)

    with pytest.raises(ServiceFailing, match="429"):
        run_virtually(main)
    assert len(service.seen) < 40
