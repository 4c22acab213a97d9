"""A process that sends requests under a shared budget: started, killed and counted by tests.

Its arguments are BUDGET BASE_URL N/PERIOD REQUESTS WORKERS START. It begins at START (seconds since the epoch), and
prints a line with its number of requests when it is done.
"""

from __future__ import annotations

import sys
import time

import aiohttp
import anyio

from bulk_export.core.credentials import Token
from bulk_export.core.units import parse_limit
from bulk_export.extract.rate_limit import RequestOutcome, open_rate_limiter

ANSWER_TIMEOUT = 1.0


async def spend(budget_url: str, base_url: str, limit: str, requests: int, workers: int, start: float) -> None:
    await anyio.sleep(max(0.0, start - time.time()))
    agreed = parse_limit(limit)
    left = iter(range(requests))
    async with (
        open_rate_limiter(
            budget_url,
            base_url=base_url,
            token=Token("shared-by-all"),
            service_limit=agreed,
            ip_limit=agreed,
            min_interval=0.0,
            answer_timeout=ANSWER_TIMEOUT,
        ) as limiter,
        aiohttp.ClientSession(base_url) as session,
        anyio.create_task_group() as tasks,
    ):

        async def worker() -> None:
            for _ in left:
                permit = await limiter.acquire()
                async with session.get("/") as response:
                    assert response.status == 200
                await limiter.release(permit, RequestOutcome.ANSWERED)

        for _ in range(workers):
            tasks.start_soon(worker)
    sys.stdout.write(f"{requests}\n")


def main() -> None:
    budget, base, limit, requests, workers, start = sys.argv[1:]
    anyio.run(spend, budget, base, limit, int(requests), int(workers), float(start))
