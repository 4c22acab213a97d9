"""Requests that earlier versions put on record still count, and so does what they learned from a 429.

`tests/stored/README.md` says how the files were made. `tests/unit/extract/rate_limit/test_machines.py` tests the
SQLite file of version 1.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome, read_usage
from bulk_export.extract.rate_limit.interface import Granted
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.redis.ledger import RedisLedger
from tests.support.planned_requests import SERVICE, TOKEN, ManualClock, ledger_on_disk, make_limits
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess
from tests.support.stored import STORED

needs_redis = pytest.mark.skipif(REDIS is None, reason=SKIP_REASON)
# Both records of version 2 are of this: with a limit of 5 a minute, another token spent two requests at second 0; one
# was answered at second 3, one throttled for 30 seconds, and one is in flight, of a process that died.
FIVE = make_limits(Limit(5, 60), Limit(5, 60))
# How many requests may be sent so many seconds later. One window is full until second 60, and then holds one request
# until the reduced ceiling has grown.
GRANTED = {1: 0, 29: 0, 31: 0, 45: 0, 62: 1, 75: 0, 100: 0, 150: 1, 400: 3}
identities = itertools.count(1_000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path)
    yield process
    process.kill()


class Clocks:
    """The clock of a Redis server and that of this machine, both at a time of the test."""

    def __init__(self, server: float) -> None:
        self.server = server
        self.here = 500.0

    def pass_(self, seconds: float) -> None:
        self.server += seconds
        self.here += seconds


@asynccontextmanager
async def redis_store(server: RedisProcess, clocks: Clocks) -> AsyncIterator[RedisLedger]:
    store = RedisLedger(
        RedisServer(server.url), SERVICE, TOKEN, FIVE, clock=lambda: clocks.server, elapsed=lambda: clocks.here
    )
    try:
        await store.enter()
        yield store
    finally:
        await store.close()


async def spend_all(store: RedisLedger) -> int:
    granted = 0
    while isinstance(await store.claim(identity := next(identities)), Granted):
        await store.release(identity, RequestOutcome.ANSWERED)
        granted += 1
    return granted


async def restore(server: RedisProcess, name: str) -> Any:
    """Put a stored record into a server, as if it had run all the time; a client of it."""
    from redis.asyncio import Redis

    client: Any = Redis(port=server.port)
    run = (await client.info("server"))["run_id"]
    for key, kept in json.loads((STORED / name).read_text()).items():
        match kept["type"]:
            case "string":
                await client.set(key, kept["value"])
            case "hash":
                started = {"run": run} if "run" in kept["value"] else {}
                await client.hset(key, mapping=kept["value"] | started)
            case _:
                await client.zadd(key, dict(kept["value"]))
    return client


def test_budget_file_of_0_2_0_still_counts(tmp_path: Path) -> None:
    """Requests and the throttle state of version 2 count, whatever the token; `budget` shows them."""
    path = tmp_path / "budget.sqlite"
    shutil.copy(STORED / "budget-v2.sqlite", path)
    granted = {}
    for seconds in GRANTED:
        with closing(ledger_on_disk(path, FIVE, ManualClock(now=1003.0 + seconds).boot_clock())) as ledger:
            granted[seconds] = 0
            while isinstance(ledger.claim(identity := next(identities)), Granted):
                ledger.release(identity, RequestOutcome.ANSWERED)
                granted[seconds] += 1
    assert granted == GRANTED
    assert {use.service for use in read_usage(f"sqlite:///{path}")} == {SERVICE}


@needs_redis
async def test_redis_record_of_0_2_0_still_counts(server: RedisProcess) -> None:
    """Requests and the throttle state of version 2 count, whatever the token."""
    clocks = Clocks(1_790_000_003.0)
    async with await restore(server, "budget-redis-v2.json"):
        granted, before = {}, 0
        for seconds in GRANTED:
            clocks.pass_(seconds - before)
            before = seconds
            async with redis_store(server, clocks) as store:
                granted[seconds] = await spend_all(store)
    assert granted == GRANTED


@needs_redis
async def test_redis_record_of_0_1_0_counts_as_full(server: RedisProcess) -> None:
    """Requests of version 1 are not looked for: everything counts as spent for a period, and its programs stop."""
    from redis.exceptions import ResponseError

    clocks = Clocks(1_790_000_000.0)
    async with await restore(server, "budget-redis-v1.json") as client:
        async with redis_store(server, clocks) as store:
            assert await spend_all(store) == 0
            clocks.pass_(80.1)
            assert await spend_all(store) == 5
        with pytest.raises(ResponseError):
            await client.get("{bulk-export}:secret")


@needs_redis
async def test_unused_redis_record_of_0_1_0_is_free(server: RedisProcess) -> None:
    """A secret of version 1 without anything spent holds nobody up."""
    from redis.asyncio import Redis

    async with Redis(port=server.port) as client:
        await client.set("{bulk-export}:secret", "0" * 64)
        async with redis_store(server, Clocks(1_790_000_000.0)) as store:
            assert await spend_all(store) == 5
