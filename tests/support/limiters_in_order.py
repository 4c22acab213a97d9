"""Sends requests through several limiters of one process, in order, on virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.precedence import Precedence, Turn
from tests.support.planned_requests import SERVICE, Sent, make_limits
from tests.support.virtual_time import run_virtually


@dataclass
class Run:
    """What each of several limiters sent."""

    logs: list[list[Sent]] = field(default_factory=list)
    most_in_flight: int = 0
    in_flight: int = 0

    @property
    def all(self) -> list[Sent]:
        return [one for log in self.logs for one in log]

    def finished(self, number: int) -> float:
        return max(one.over for one in self.logs[number])


async def send(limiter: RateLimiter, count: int, workers: int, latency: float, run: Run, log: list[Sent]) -> None:
    waiting = iter(range(count))

    async def worker() -> None:
        for _ in waiting:
            permit = await limiter.acquire()
            run.in_flight += 1
            run.most_in_flight = max(run.most_in_flight, run.in_flight)
            sent, outcome = anyio.current_time(), RequestOutcome.FAILED
            try:
                await anyio.sleep(latency)
                log.append(Sent(sent, sent + latency / 2, anyio.current_time(), permit.source))
                outcome = RequestOutcome.ANSWERED
            finally:
                run.in_flight -= 1
                await limiter.release(permit, outcome)

    async with anyio.create_task_group() as tasks:
        for _ in range(workers):
            tasks.start_soon(worker)
    await limiter.aclose()


def in_order(
    counts: list[int],
    service: Limit,
    address: Limit,
    sources: int = 1,
    *,
    workers: int = 8,
    latency: float = 0.3,
    min_interval: float = 0.0,
    most_in_flight: int = 8,
) -> Run:
    """Send so many requests with each limiter, all of them at once."""
    run = Run()

    async def main() -> None:
        precedence = Precedence(most_in_flight)
        async with anyio.create_task_group() as tasks:
            for number, count in enumerate(counts):
                limits = make_limits(service, address, sources)
                queue = precedence.queue_of(SERVICE)
                ledger = MemoryLedger(limits, anyio.current_time, addresses=queue.windows(address.period))
                limiter = RateLimiter(
                    InlineAsyncLedger(ledger),
                    limits,
                    wall=lambda: 0.0,
                    uniform=lambda: 0.5,
                    turn=Turn(queue, number, min_interval, limits),
                )
                run.logs.append([])
                tasks.start_soon(send, limiter, count, workers, latency, run, run.logs[-1])

    run_virtually(main)
    return run
