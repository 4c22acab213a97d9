"""Send requests through rate limiters on virtual time, and log when the service counts them."""

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
from bulk_export.extract.rate_limit.clock import BootClock
from bulk_export.extract.rate_limit.interface import Granted, InLoop, Limits, Wait
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.sliding_log import most_in_any_fixed_window, most_in_any_window
from tests.support.virtual_time import run_virtually

ANSWER_TIMEOUT = 20.0
SERVICE = "https://service.example"
TOKEN = Token("token-of-the-tests")


@dataclass(frozen=True)
class Planned:
    """A request to send: it counts at the service after `part` of its `latency`.

    One that was given up counts `late` seconds after that. Its process is stopped for `stop` seconds between getting
    the slot and sending.
    """

    latency: float
    part: float
    outcome: RequestOutcome
    late: float = 0.0
    stop: float = 0.0


@dataclass(frozen=True)
class Sent:
    """A request: when it was sent, when the service counted it, when it was over, and from where."""

    sent: float
    counted: float
    over: float
    source: str | None


limits = st.builds(Limit, st.integers(1, 8), st.sampled_from([1.0, 5.0, 10.0]))
planned = st.lists(
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


def terms(
    service: Limit, address: Limit, sources: int = 1, longest: float = ANSWER_TIMEOUT, late: float = 0.0
) -> Limits:
    names = tuple(f"127.0.0.{number}" for number in range(1, sources + 1))
    return Limits(service, address, names, longest, late)


def in_memory(of: Limits, min_interval: float = 0.0) -> RateLimiter:
    ledger = MemoryLedger(of, anyio.current_time)
    return RateLimiter(InLoop(ledger), of, min_interval=min_interval, wall=lambda: 0.0, uniform=lambda: 0.5)


def virtual_clock(boot: str = "this boot", *, ahead: float = 0.0, wall: float = 0.0) -> BootClock:
    """The clock of a machine that was up for `ahead` seconds at the start, and whose wall clock is wrong by `wall`."""
    return BootClock(boot, lambda: anyio.current_time() + ahead, lambda: 1.8e9 + anyio.current_time() + wall)


def ledger_on_disk(path: Path, of: Limits, clock: BootClock | None = None) -> SqliteLedger:
    return SqliteLedger(path, SERVICE, TOKEN, of, clock or virtual_clock())


def on_disk(path: Path, of: Limits, min_interval: float = 0.0) -> RateLimiter:
    ledger = ledger_on_disk(path, of)
    return RateLimiter(InLoop(ledger), of, min_interval=min_interval, wall=lambda: 0.0, uniform=lambda: 0.5)


async def send_all(budget: RateLimiter, requests: Sequence[Planned], workers: int, log: list[Sent]) -> None:
    """Send the requests in order, with some workers. Those cut off by cancellation count as late as they can."""
    waiting = iter(requests)

    async def worker() -> None:
        for request in waiting:
            slot = await budget.acquire()
            await anyio.sleep(request.stop)
            while not budget.is_fresh(slot):
                await budget.settle(slot, RequestOutcome.UNSENT)
                slot = await budget.acquire()
            sent = anyio.current_time()
            if request.outcome is not RequestOutcome.UNSENT:
                over, counted = sent + ANSWER_TIMEOUT, sent + request.part * ANSWER_TIMEOUT
                try:
                    await anyio.sleep(request.latency)
                    over = anyio.current_time()
                    counted = sent + request.part * (over - sent)
                finally:
                    late = request.late if request.outcome is RequestOutcome.GIVEN_UP else 0.0
                    log.append(Sent(sent, counted + late, over, slot.source))
            await budget.settle(slot, request.outcome)

    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(worker)


def play(make: Callable[[], RateLimiter], requests: Sequence[Planned], workers: int) -> list[Sent]:
    """Send the requests through one budget."""
    log: list[Sent] = []

    async def main() -> None:
        budget = make()
        await send_all(budget, requests, workers, log)
        await budget.aclose()

    run_virtually(main)
    return log


def at_once(count: int) -> list[Planned]:
    return [Planned(0.0, 0.0, RequestOutcome.ANSWERED)] * count


def assert_within(log: Iterable[Sent], service: Limit, address: Limit, offset: float = 0.0) -> None:
    """No window exceeded, rolling or fixed, in all or from one address, as the service counts."""
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
def a_file() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp())
    try:
        yield directory / "budget.sqlite"
    finally:
        shutil.rmtree(directory)


class Hand:
    """A clock that stands where it is put."""

    def __init__(self, boot: str = "this boot", now: float = 1000.0, *, started: float = 1.8e9) -> None:
        self.boot = boot
        self.time = now
        self.started = started

    def clock(self) -> BootClock:
        return BootClock(self.boot, lambda: self.time, lambda: self.started + self.time)


identities = itertools.count(1_000_000)


def claim_all(ledger: SqliteLedger) -> int:
    """Claim until there is no slot; how many there were."""
    granted = 0
    while isinstance(ledger.claim(next(identities)), Granted):
        granted += 1
    return granted


class Mortal(InLoop):
    """A store of a process that can be killed: then nothing more is put on record, whatever the tasks do."""

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

    async def settle(self, identity: int, outcome: RequestOutcome) -> None:
        if not self._killed:
            await super().settle(identity, outcome)

    async def withdraw(self) -> None:
        if not self._killed:
            await super().withdraw()

    async def close(self) -> None:
        if not self._killed:
            await super().close()


@dataclass(frozen=True)
class Process:
    """One that starts at a time, sends requests with some workers, and is killed at another, if at all.

    `machine` numbers the one it runs on.
    """

    starts: float
    lives: float
    workers: int
    requests: list[Planned]
    machine: int = 0


processes = st.lists(
    st.builds(
        Process,
        starts=st.sampled_from([0.0, 0.0, 1.0]) | st.floats(0, 30),
        lives=st.just(10_000.0) | st.floats(0, 20),
        workers=st.integers(1, 5),
        requests=planned,
    ),
    min_size=1,
    max_size=4,
)


def play_processes(
    playing: Sequence[Process],
    of: Limits,
    machines: Sequence[BootClock],
    services: Sequence[tuple[str, Token]] = ((SERVICE, TOKEN),),
    fresh_for: float = math.inf,
) -> list[Sent]:
    """Let processes start, be killed and end, on one file. The services are used in turn."""
    log: list[Sent] = []

    async def live(number: int, process: Process, path: Path) -> None:
        await anyio.sleep(process.starts)
        base_url, token = services[number % len(services)]
        clock = machines[process.machine % len(machines)]
        store = Mortal(SqliteLedger(path, base_url, token, of, clock))
        budget = RateLimiter(store, of, fresh_for=fresh_for, elapsed=anyio.current_time)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.die_after, process.lives, tasks.cancel_scope)
            await send_all(budget, process.requests, process.workers, log)
            tasks.cancel_scope.cancel()
        await budget.aclose()

    async def main(path: Path) -> None:
        async with anyio.create_task_group() as tasks:
            for number, process in enumerate(playing):
                tasks.start_soon(live, number, process, path)

    with a_file() as path:
        run_virtually(lambda: main(path))
    return log
