"""After a 429: one common hold, one probe, and no more than the service was seen to let through."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.errors import ServiceFailing
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome, read_usage
from bulk_export.services.local.throttle import FixedWindows, RollingWindow, Throttle
from tests.support.planned_requests import TOKEN, limiter_in_memory, limiter_on_disk, make_limits
from tests.support.virtual_time import run_virtually

LATENCY = 0.05


class Service:
    """Answers 429 where `throttles(now)`; `seen` holds when and what. A `date` is that of its clock."""

    def __init__(self, throttles: Callable[[float], bool], retry_after: str | None = None, *, dated: bool = False):
        self.throttles = throttles
        self.retry_after = retry_after
        self.dated = dated
        self.seen: list[tuple[float, int]] = []

    async def answer(self, limiter: RateLimiter) -> int:
        permit = await limiter.acquire()
        await anyio.sleep(LATENCY)
        now = anyio.current_time()
        status = 429 if self.throttles(now) else 200
        self.seen.append((now, status))
        if status == 429:
            date = f"Thu, 01 Jan 1970 00:{int(now) // 60:02}:{int(now) % 60:02} GMT" if self.dated else None
            await limiter.report_throttled(permit, retry_after=self.retry_after, date=date)
        else:
            await limiter.release(permit, RequestOutcome.ANSWERED)
        return status

    def throttled(self) -> list[float]:
        return [moment for moment, status in self.seen if status == 429]

    def served(self) -> list[float]:
        return [moment for moment, status in self.seen if status == 200]


def fetch(make: Callable[[], RateLimiter], service: Service, pages: int, workers: int = 8) -> RateLimiter:
    """Ask until so many requests were answered, each again when it was throttled."""
    made: list[RateLimiter] = []

    async def main() -> None:
        limiter = make()
        made.append(limiter)
        left = iter(range(pages))

        async def worker() -> None:
            for _ in left:
                while await service.answer(limiter) == 429:
                    pass

        async with anyio.create_task_group() as tasks:
            for _ in range(workers):
                tasks.start_soon(worker)

    run_virtually(main)
    return made[0]


def wide() -> RateLimiter:
    return limiter_in_memory(make_limits(Limit(1000, 300), Limit(1000, 300)))


@pytest.mark.parametrize("retry_after", [None, "7"])
def test_hold_then_one_probe(retry_after: str | None) -> None:
    """After a 429 everybody holds, and then one request at a time probes."""
    service = Service(lambda now: now < 20, retry_after)
    limiter = fetch(wide, service, pages=200)
    throttled = service.throttled()
    first_burst = [moment for moment in throttled if moment < 0.2]
    probes = [moment for moment in throttled if moment >= 0.2]
    assert len(first_burst) == 8
    assert 1 <= len(probes) <= 5
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(probes))
    assert limiter.throttled == len(throttled)
    assert len(service.served()) == 200
    if retry_after:
        assert 7 <= probes[0] < 7.5


def test_probe_is_alone() -> None:
    """The first request after the hold is alone until it is answered."""
    service = Service(lambda now: now < 1)
    fetch(wide, service, pages=50)
    first, second, *_ = service.served()
    assert second - first >= LATENCY


def test_window_boundary_ends_hold() -> None:
    """The next window by the service's clock ends the hold if it is sooner than the backoff."""
    service = Service(lambda now: now < 300, dated=True)
    fetch(wide, service, pages=20)
    assert 300 < service.served()[0] < 302


def test_lost_probe_is_repeated() -> None:
    """A probe without a response is followed by another a second later, an unsent one at once."""

    async def main() -> float:
        limiter = wide()
        await limiter.report_throttled(await limiter.acquire(), retry_after="1", date=None)
        await limiter.release(await limiter.acquire(), RequestOutcome.FAILED)
        await limiter.release(await limiter.acquire(), RequestOutcome.UNSENT)
        await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        return anyio.current_time()

    assert 2 < run_virtually(main) < 3


def test_late_429s_do_not_prolong_hold() -> None:
    """A 429 to a request that was in flight at the first one does not prolong the hold."""

    async def main() -> tuple[float, float]:
        limiter = wide()
        early = [await limiter.acquire() for _ in range(3)]
        first = await limiter.report_throttled(early[0], retry_after="5", date=None)
        await anyio.sleep(2)
        late = await limiter.report_throttled(early[1], retry_after="5", date=None)
        await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        very_late = await limiter.report_throttled(early[2], retry_after="5", date=None)
        return first - late, very_late

    shorter, very_late = run_virtually(main)
    assert shorter == pytest.approx(2, abs=1e-3)
    assert very_late == 0


def test_hold_applies_to_claimed_permit() -> None:
    """A permit that waits for its interval when a 429 arrives is claimed again after the hold."""

    async def main() -> tuple[float, bool]:
        limiter = limiter_in_memory(make_limits(Limit(100, 300), Limit(100, 300)), min_interval=4.0)
        permit = await limiter.acquire()
        moments: list[float] = []

        async def next_one() -> None:
            await limiter.acquire()
            moments.append(anyio.current_time())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(next_one)  # has claimed its permit and waits for its distance
            await anyio.sleep(1)
            hold = await limiter.report_throttled(permit, retry_after="30", date=None)
        return moments[0], moments[0] >= 1 + hold

    moment, held = run_virtually(main)
    assert held
    assert moment < 45


@pytest.mark.parametrize("throttle", [FixedWindows, RollingWindow])
def test_adapts_to_other_client(throttle: type[FixedWindows] | type[RollingWindow]) -> None:
    """Beside another client it keeps to what gets through.

    The other client sends half of 40 in 10 s. After a period of learning, hardly anything is answered with 429.
    """
    limit = Limit(40, 10)
    windows: list[Throttle] = []

    def throttles(now: float) -> bool:
        return not windows[0].admits("token")

    async def other_client(until: float) -> None:
        while anyio.current_time() < until:
            windows[0].admits("token")
            await anyio.sleep(0.5)

    service = Service(throttles, dated=True)

    async def main() -> None:
        windows.append(throttle(limit, anyio.current_time))
        limiter = limiter_in_memory(make_limits(limit, limit))
        left = iter(range(200))

        async def worker() -> None:
            for _ in left:
                while await service.answer(limiter) == 429:
                    pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other_client, 400)
            async with anyio.create_task_group() as workers:
                for _ in range(8):
                    workers.start_soon(worker)
            tasks.cancel_scope.cancel()

    run_virtually(main)
    assert len(service.served()) == 200
    finished = service.served()[-1]
    # Half of the limit would need 100 s. Refused requests stay few, and most of what is free is used.
    assert finished < 220
    assert len(service.throttled()) < 60


def test_ceiling_grows_each_period() -> None:
    """After a 429 no more is sent in a period than got through, and then a little more each period.

    5 of 100 got through; the tenth of 100 is what each period adds.
    """
    served = 0

    def throttles(now: float) -> bool:
        nonlocal served
        served += 1
        return served == 6

    service = Service(throttles)
    fetch(lambda: limiter_in_memory(make_limits(Limit(100, 10), Limit(100, 10))), service, pages=60, workers=1)
    moments = service.served()
    resumed = moments[5]
    in_first_period = [moment for moment in moments if resumed <= moment < resumed + 10]
    in_third_period = [moment for moment in moments if resumed + 20 <= moment < resumed + 30]
    assert len(in_first_period) <= 5 + 10 + 1
    assert len(in_third_period) > len(in_first_period)


@pytest.mark.parametrize("retry_after", [None, "0", "1", "99999"])
def test_gives_up_after_several_periods(retry_after: str | None) -> None:
    """A service that answers nothing but 429 is given up after several periods and probes."""
    service = Service(lambda _: True, retry_after)

    async def main() -> None:
        limiter = limiter_in_memory(make_limits(Limit(1000, 10), Limit(1000, 10)))
        while True:
            await service.answer(limiter)

    with pytest.raises(ServiceFailing, match="429"):
        run_virtually(main)
    assert service.throttled()[-1] >= 50
    assert len(service.throttled()) < 40


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    throttling=st.lists(st.tuples(st.floats(0, 60), st.floats(0.1, 20)), max_size=4),
    retry_after=st.sampled_from([None, "0", "3", "1000", "nonsense", "Thu, 01 Jan 1970 00:00:30 GMT"]),
    workers=st.integers(1, 8),
)
def test_everything_arrives_without_hammering(
    throttling: list[tuple[float, float]], retry_after: str | None, workers: int
) -> None:
    """Whenever a service throttles, every page arrives in the end, and it is not hammered."""
    service = Service(lambda now: any(start <= now < start + length for start, length in throttling), retry_after)
    fetch(lambda: limiter_in_memory(make_limits(Limit(20, 10), Limit(20, 10))), service, pages=60, workers=workers)
    assert len(service.served()) == 60
    # At most a burst of what is in flight for each interval of throttling, and probes a moment apart at least.
    assert len(service.throttled()) <= len(throttling) * (workers + 10) + sum(length for _, length in throttling)


@pytest.mark.parametrize("by", [0, 1])
def test_processes_share_hold_and_probe(tmp_path: Path, by: int) -> None:
    """Processes that share a ledger share hold and probe."""
    service = Service(lambda now: now < 15)

    async def main() -> None:
        limiters = [
            limiter_on_disk(tmp_path / "budget.sqlite", make_limits(Limit(1000, 60), Limit(1000, 60))) for _ in range(2)
        ]
        # One process gets the 429; the other has sent nothing so far.
        await service.answer(limiters[by])

        async def worker(limiter: RateLimiter) -> None:
            for _ in range(10):
                while await service.answer(limiter) == 429:
                    pass

        async with anyio.create_task_group() as tasks:
            for limiter in limiters:
                for _ in range(4):
                    tasks.start_soon(worker, limiter)

    run_virtually(main)
    throttled = service.throttled()
    assert len(throttled) <= 5
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(throttled))
    first, second, *_ = service.served()
    assert second - first >= LATENCY


def test_hold_outlives_process(tmp_path: Path) -> None:
    """A hold outlives the process that got the 429."""

    async def main() -> float:
        shared = make_limits(Limit(1000, 60), Limit(1000, 60))
        first = limiter_on_disk(tmp_path / "budget.sqlite", shared)
        await first.report_throttled(await first.acquire(), retry_after="30", date=None)
        await first.aclose()
        second = limiter_on_disk(tmp_path / "budget.sqlite", shared)
        await second.acquire()
        return anyio.current_time()

    assert run_virtually(main) == pytest.approx(30, abs=1.5)


def test_dead_probe_is_replaced(tmp_path: Path) -> None:
    """If the process that probes dies, another one probes."""

    async def main() -> float:
        shared = make_limits(Limit(1000, 60), Limit(1000, 60), longest=20.0)
        first, second = (limiter_on_disk(tmp_path / "budget.sqlite", shared) for _ in range(2))
        await first.report_throttled(await first.acquire(), retry_after="2", date=None)
        await first.acquire()  # the probe, of which nothing is heard any more
        await second.acquire()
        return anyio.current_time()

    assert 20 < run_virtually(main) < 26


def test_429_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A 429 and its end are logged, and neither the token nor its hash is."""
    caplog.set_level(logging.DEBUG, "bulk_export")
    path = tmp_path / "budget.sqlite"

    async def main() -> None:
        limiter = limiter_on_disk(path, make_limits(Limit(1000, 60), Limit(1000, 60)))
        await limiter.report_throttled(await limiter.acquire(), retry_after="30", date=None)
        await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
        await limiter.acquire()
        await limiter.aclose()

    run_virtually(main)
    messages = [record.getMessage() for record in caplog.records]
    assert any("answered 429" in message and "30." in message for message in messages)
    assert any("lets requests through again" in message for message in messages)
    secrets = (TOKEN.reveal(), read_usage(f"sqlite:///{path}")[0].token)
    assert not [message for message in messages if any(secret in message for secret in secrets)]
