"""Sends planned requests through rate limiters on virtual time, and records when the service counted each."""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.interface import Granted, Limits, Wait
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.sliding_log import most_in_any_fixed_window, most_in_any_window
from tests.support.virtual_time import run_virtually

ANSWER_TIMEOUT = 20.0
SERVICE = "https://service.example"
TOKEN = Token("token-of-the-tests")


@dataclass(frozen=True)
class Planned:
    """A request to send: the service counts it after `part` of its `latency`.

    One that was given up is counted `late` seconds later. Its process is stopped for `stop` seconds between getting
    the permit and sending.
    """

    latency: float
    part: float
    outcome: RequestOutcome
    late: float = 0.0
    stop: float = 0.0


@dataclass(frozen=True)
class Sent:
    """A request that was sent: when, when the service counted it, when it ended, and from where."""

    sent: float
    counted: float
    over: float
    source: str | None


limit_values = st.builds(Limit, st.integers(1, 8), st.sampled_from([1.0, 5.0, 10.0]))
request_lists = st.lists(
    st.builds(
        Planned,
        st.floats(0, 7),
        st.floats(0, 1),
        st.sampled_from(
            [RequestOutcome.ANSWERED, RequestOutcome.ANSWERED, RequestOutcome.FAILED, RequestOutcome.UNSENT]
        ),
    ),
    max_size=40,
)


def make_limits(
    service: Limit, address: Limit, sources: int = 1, longest: float = ANSWER_TIMEOUT, late: float = 0.0
) -> Limits:
    names = tuple(f"127.0.0.{number}" for number in range(1, sources + 1))
    return Limits(service, address, names, longest, late)


def limiter_in_memory(limits: Limits, min_interval: float = 0.0) -> RateLimiter:
    ledger = MemoryLedger(limits, anyio.current_time)
    return RateLimiter(
        InlineAsyncLedger(ledger), limits, min_interval=min_interval, wall=lambda: 0.0, uniform=lambda: 0.5
    )


def virtual_clock(boot: str = "this boot", *, ahead: float = 0.0, wall: float = 0.0) -> BootClock:
    """The clock of a machine that was up for `ahead` seconds at the start, and whose wall clock is wrong by `wall`."""
    return BootClock(boot, lambda: anyio.current_time() + ahead, lambda: 1.8e9 + anyio.current_time() + wall)


def ledger_on_disk(path: Path, limits: Limits, clock: BootClock | None = None) -> SqliteLedger:
    return SqliteLedger(path, SERVICE, TOKEN, limits, clock or virtual_clock())


def limiter_on_disk(path: Path, limits: Limits, min_interval: float = 0.0) -> RateLimiter:
    ledger = ledger_on_disk(path, limits)
    return RateLimiter(
        InlineAsyncLedger(ledger), limits, min_interval=min_interval, wall=lambda: 0.0, uniform=lambda: 0.5
    )


async def send_all(limiter: RateLimiter, requests: Sequence[Planned], workers: int, log: list[Sent]) -> None:
    """Send the requests in order, with some workers. Those cut off by cancellation count as late as they can."""
    waiting = iter(requests)

    async def worker() -> None:
        for request in waiting:
            permit = await limiter.acquire()
            await anyio.sleep(request.stop)
            while not limiter.is_fresh(permit):
                await limiter.release(permit, RequestOutcome.UNSENT)
                permit = await limiter.acquire()
            sent = anyio.current_time()
            if request.outcome is not RequestOutcome.UNSENT:
                over, counted = sent + ANSWER_TIMEOUT, sent + request.part * ANSWER_TIMEOUT
                try:
                    await anyio.sleep(request.latency)
                    over = anyio.current_time()
                    counted = sent + request.part * (over - sent)
                finally:
                    late = request.late if request.outcome is RequestOutcome.GIVEN_UP else 0.0
                    log.append(Sent(sent, counted + late, over, permit.source))
            await limiter.release(permit, request.outcome)

    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(worker)


def run_requests(make: Callable[[], RateLimiter], requests: Sequence[Planned], workers: int) -> list[Sent]:
    """Send the requests through one limiter."""
    log: list[Sent] = []

    async def main() -> None:
        limiter = make()
        await send_all(limiter, requests, workers, log)
        await limiter.aclose()

    run_virtually(main)
    return log


def at_once(count: int) -> list[Planned]:
    return [Planned(0.0, 0.0, RequestOutcome.ANSWERED)] * count


def assert_within(log: Iterable[Sent], service: Limit, address: Limit, offset: float = 0.0) -> None:
    """Assert that no window is exceeded, rolling or fixed, of all requests or of one address."""
    log = list(log)
    counted = [request.counted for request in log]
    assert most_in_any_window(counted, service.period) <= service.requests
    assert most_in_any_fixed_window(counted, service.period, offset) <= service.requests
    for source in {request.source for request in log}:
        own = [request.counted for request in log if request.source == source]
        assert most_in_any_window(own, address.period) <= address.requests
        assert most_in_any_fixed_window(own, address.period, offset) <= address.requests


def least_time(count: int, service: Limit, address: Limit, sources: int, min_interval: float = 0.0) -> float:
    """The earliest moment at which the last of `count` requests can be sent, were they answered at once.

    Among any N + 1 requests two are a period apart; among any N x addresses + 1, two from one address.
    """
    moments: list[float] = []
    for number in range(count):
        earliest = 0.0
        for back, wait in (
            (service.requests, service.period),
            (address.requests * sources, address.period),
            (1, min_interval),
        ):
            if number >= back:
                earliest = max(earliest, moments[number - back] + wait)
        moments.append(earliest)
    return moments[-1]


def gaps(log: Iterable[Sent]) -> list[float]:
    return [
        after.sent - before.sent for before, after in itertools.pairwise(sorted(log, key=lambda request: request.sent))
    ]


@contextmanager
def temporary_path() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp())
    try:
        yield directory / "budget.sqlite"
    finally:
        shutil.rmtree(directory)


class ManualClock:
    """A clock that shows the time that a test sets."""

    def __init__(self, boot: str = "this boot", now: float = 1000.0, *, started: float = 1.8e9) -> None:
        self.boot = boot
        self.time = now
        self.started = started

    def boot_clock(self) -> BootClock:
        return BootClock(self.boot, lambda: self.time, lambda: self.started + self.time)


identities = itertools.count(1_000_000)


def claim_all(ledger: SqliteLedger) -> int:
    """Claim permits until none is granted. Return their number."""
    granted = 0
    while isinstance(ledger.claim(next(identities)), Granted):
        granted += 1
    return granted


def spend_some(path: Path, clock: ManualClock, count: int, *, close: bool = True) -> None:
    """Spend some of five requests; without `close`, like a process whose machine lost power."""
    ledger = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    for number in range(count):
        assert isinstance(ledger.claim(number), Granted)
        ledger.release(number, RequestOutcome.ANSWERED)
    if close:
        ledger.close()
    else:
        ledger._connection.close()


class KillableLedger(InlineAsyncLedger):
    """The ledger of a process that can be killed: from then on it records nothing."""

    def __init__(self, ledger: SqliteLedger) -> None:
        super().__init__(ledger)
        self._file = ledger
        self._killed = False

    async def die_after(self, seconds: float, process: anyio.CancelScope) -> None:
        await anyio.sleep(seconds)
        self._killed = True
        self._file._connection.close()
        process.cancel()

    async def claim(self, identity: int) -> Granted | Wait:
        if self._killed:
            await anyio.sleep_forever()
        return await super().claim(identity)

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        if not self._killed:
            await super().release(identity, outcome)

    async def leave_queue(self) -> None:
        if not self._killed:
            await super().leave_queue()

    async def close(self) -> None:
        if not self._killed:
            await super().close()


@dataclass(frozen=True)
class Process:
    """A process that starts at a time, sends requests with some workers, and may be killed at another time.

    `machine` numbers the one it runs on.
    """

    starts: float
    lives: float
    workers: int
    requests: list[Planned]
    machine: int = 0


process_lists = st.lists(
    st.builds(
        Process,
        starts=st.sampled_from([0.0, 0.0, 1.0]) | st.floats(0, 30),
        lives=st.just(10_000.0) | st.floats(0, 20),
        workers=st.integers(1, 5),
        requests=request_lists,
    ),
    min_size=1,
    max_size=4,
)


def run_processes(
    started: Sequence[Process],
    limits: Limits,
    machines: Sequence[BootClock],
    services: Sequence[tuple[str, Token]] = ((SERVICE, TOKEN),),
    permit_lifetime: float = math.inf,
) -> list[Sent]:
    """Let processes start, be killed and end, on one file. Services and tokens are assigned in rotation."""
    log: list[Sent] = []

    async def live(number: int, process: Process, path: Path) -> None:
        await anyio.sleep(process.starts)
        base_url, token = services[number % len(services)]
        clock = machines[process.machine % len(machines)]
        store = KillableLedger(SqliteLedger(path, base_url, token, limits, clock))
        limiter = RateLimiter(store, limits, permit_lifetime=permit_lifetime, elapsed=anyio.current_time)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.die_after, process.lives, tasks.cancel_scope)
            await send_all(limiter, process.requests, process.workers, log)
            tasks.cancel_scope.cancel()
        await limiter.aclose()

    async def main(path: Path) -> None:
        async with anyio.create_task_group() as tasks:
            for number, process in enumerate(started):
                tasks.start_soon(live, number, process, path)

    with temporary_path() as path:
        run_virtually(lambda: main(path))
    return log
