"""What the limits allow, and how much of it is used.

    python -m benchmarks.rate_budget           virtual time, a short run in real time, and the cost of a claim
    python -m benchmarks.rate_budget --full    and the service's own limits in real time, about two minutes

The bound is the least time in which so many requests can be over when a slot is free again a period after the
answer to its request: the hold that keeps every window of the service's within the limit. What that hold costs,
beside counting from the sending, which is not safe, is said too.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.processes import bundled
from benchmarks.report import aligned, shown
from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome, open_rate_limiter
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.simulation import schedule
from bulk_export.progress.observer import Observer
from tests.support.sliding_log import most_in_any_window
from tests.support.virtual_time import VirtualLoop

WORKERS = 64
INTERVAL = 0.1
SERVICE, ADDRESS = Limit(1000, 300.0), Limit(300, 300.0)


@dataclass(frozen=True)
class Case:
    """So many pages from so many addresses."""

    name: str
    requests: int
    addresses: int


CASES = (
    Case("300,000 records, 4 addresses", 1_000, 4),
    Case("90,000 records, 1 address", 300, 1),
    Case("3,000,000 records in pages of 3,000, 4 addresses", 1_000, 4),
    Case("900,000 records, 4 addresses", 3_000, 4),
)


def bound(latencies: Sequence[float], addresses: int, *, held: bool) -> float:
    """When the last request is over at the earliest; `held`: a slot is free a period after the answer."""
    limit = min(SERVICE.requests, ADDRESS.requests * addresses)
    freed: list[float] = []
    sent, last = -INTERVAL, 0.0
    for number, latency in enumerate(latencies):
        sent = max(sent + INTERVAL, freed[number - limit] if number >= limit else 0.0)
        last = max(last, sent + latency)
        bisect.insort(freed, (sent + latency if held else sent) + SERVICE.period)
    return last


def play(latencies: Sequence[float], addresses: int) -> tuple[float, list[tuple[float, str | None]]]:
    """The real budget on virtual time: when all is over, and when and from where the service counted each request."""
    rng = random.Random(2)
    counted: list[tuple[float, str | None]] = []
    left = iter(latencies)
    sources = tuple(f"127.0.0.{number}" for number in range(1, addresses + 1))
    terms = Limits(SERVICE, ADDRESS, sources, longest_request=90.0)

    async def worker(budget: RateLimiter) -> None:
        for latency in left:
            slot = await budget.acquire()
            counted.append((anyio.current_time() + rng.random() * latency, slot.source))
            await anyio.sleep(latency)
            await budget.release(slot, RequestOutcome.ANSWERED)

    async def main() -> float:
        budget = RateLimiter(InlineAsyncLedger(MemoryLedger(terms, anyio.current_time)), terms, min_interval=INTERVAL)
        async with anyio.create_task_group() as tasks:
            for _ in range(WORKERS):
                tasks.start_soon(worker, budget)
        return anyio.current_time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main()), counted


def virtual() -> list[dict[str, object]]:
    """Every case at three latencies, give or take half of each."""
    rows: list[dict[str, object]] = []
    for case in CASES:
        for latency in (0.05, 0.2, 1.0):
            rng = random.Random(1)
            latencies = [latency * rng.uniform(0.5, 1.5) for _ in range(case.requests)]
            took, counted = play(latencies, case.addresses)
            least = bound(latencies, case.addresses, held=True)
            unsafe = bound(latencies, case.addresses, held=False)
            most = most_in_any_window([moment for moment, _ in counted], SERVICE.period)
            each = max(
                most_in_any_window([moment for moment, source in counted if source == one], ADDRESS.period)
                for one in {source for _, source in counted}
            )
            rows.append(
                {
                    "case": case.name,
                    "latency": latency,
                    "seconds": round(took, 2),
                    "of_bound": round(took / least, 4),
                    "hold_costs": f"{least / unsafe - 1:.2%}",
                    "most_in_a_window": most,
                    "most_from_one_address": each,
                }
            )
    return rows


class Moments(Observer):
    """When requests were sent, by the clock of the client."""

    def __init__(self) -> None:
        self.sent: list[float] = []

    def request_sent(self, endpoint: str) -> None:
        """Note the time."""
        self.sent.append(time.monotonic())


async def real(records: int, service: Limit, ip: Limit, interval: float) -> dict[str, object]:
    """A whole export over HTTP from four addresses, from the bundled service with these limits on, in a process
    of its own; the time from the first request to the last answer against that on virtual time."""
    limits = [f"--service-limit={service.requests}/{service.period}", f"--ip-limit={ip.requests}/{ip.period}"]
    more = ["--windows=rolling", "--latency=50ms", "--latency-spread=0.5"]
    moments = Moments()
    with bundled(records, *limits, *more) as base_url, tempfile.TemporaryDirectory() as folder:
        options = ExportOptions.of(
            ["participant-declarations"],
            base_url=base_url,
            token="benchmark",
            output=Path(folder) / "out",
            budget=f"sqlite:///{folder}/budget.sqlite",
            service_limit=service,
            ip_limit=ip,
            min_interval=interval,
            source_address=[f"127.0.0.{number}" for number in range(1, 5)],
        )
        summary = await export(options, moments)
    took = moments.sent[-1] - moments.sent[0] + 0.05
    least = schedule(
        summary.requests,
        service_limit=service,
        address_limit=ip,
        addresses=4,
        min_interval=interval,
        latency=0.05,
        workers=options.workers,
    ).finished
    return {
        "records": records,
        "requests": summary.requests,
        "refused": summary.throttled,
        "seconds": round(took, 2),
        "beyond_bound": f"{took / least - 1:.1%}",
        "most_in_a_window": most_in_any_window(moments.sent, service.period),
    }


async def cost_of_a_claim(url: str, times: int = 500) -> float:
    """The median of one claim and one settlement, in milliseconds."""
    free = Limit(10_000_000, 300.0)
    async with open_rate_limiter(
        url,
        base_url="http://127.0.0.1",
        token=Token("benchmark"),
        service_limit=free,
        ip_limit=free,
        min_interval=0,
        answer_timeout=90,
    ) as budget:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            slot = await budget.acquire()
            taken.append(time.perf_counter() - began)
            await budget.release(slot, RequestOutcome.ANSWERED)
    return statistics.median(taken) * 1_000


def table(rows: list[dict[str, object]], columns: tuple[str, ...]) -> str:
    """Rows as text."""
    return aligned([columns, *([shown(row[name]) for name in columns] for row in rows)])


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the service's own limits in real time")
    chosen = parser.parse_args()
    columns = ("case", "latency", "seconds", "of_bound", "hold_costs", "most_in_a_window", "most_from_one_address")
    print(table(virtual(), columns), flush=True)
    runs = [asyncio.run(real(35_000, Limit(40, 20.0), Limit(12, 20.0), 0.0))]
    if chosen.full:
        runs.append(asyncio.run(real(295_000, SERVICE, ADDRESS, INTERVAL)))
    listed = ("records", "requests", "refused", "seconds", "beyond_bound", "most_in_a_window")
    print(table(runs, listed), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for url in ("memory://", f"sqlite:///{folder}/budget.sqlite"):
            cost = asyncio.run(cost_of_a_claim(url))
            print(f"a claim costs {cost:.3f} ms in the median with {url.partition('://')[0]}")


if __name__ == "__main__":
    main()
