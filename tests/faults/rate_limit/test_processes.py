"""Real processes under one budget, counted by a real server: started together, killed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from aiohttp import web

from bulk_export.extract.rate_limit import read_usage
from tests.support import spender
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess
from tests.support.sliding_log import most_in_any_window
from tests.support.warm_command import WarmProcess


@dataclass
class Counting:
    """A server that notes when each request arrived."""

    base_url: str = ""
    moments: list[float] = field(default_factory=list)


@asynccontextmanager
async def counting_server(latency: float = 0.02) -> AsyncIterator[Counting]:
    counting = Counting()

    async def answer(request: web.Request) -> web.Response:
        counting.moments.append(time.monotonic())
        await anyio.sleep(latency)
        return web.Response()

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    counting.base_url = f"http://{host}:{port}"
    try:
        yield counting
    finally:
        await runner.cleanup()


async def start(
    budget: str, server: Counting, *, limit: str, requests: int, workers: int = 4, at: float = 0.0
) -> WarmProcess:
    given = [budget, server.base_url, limit, str(requests), str(workers), str(at)]
    # Beside the loop, which is the server: the first start of this kind imports everything.
    return await anyio.to_thread.run_sync(
        lambda: WarmProcess(given, cwd=Path.cwd(), env=os.environ, main=spender.main, stdout=subprocess.PIPE)
    )


async def finished(process: WarmProcess) -> int:
    """How many requests a process sent; it must have ended well."""
    out, _ = await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0
    return int(out)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.005)


@pytest.fixture(params=["sqlite", "redis"])
def budget_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'budget.sqlite'}"
        return
    if REDIS is None:
        pytest.skip(SKIP_REASON)
    server = RedisProcess(tmp_path)
    yield server.url
    server.kill()


@pytest.mark.slow
async def test_processes_started_together(budget_url: str) -> None:
    """Eight processes that start together all finish, and none of them is throttled."""
    async with counting_server() as server:
        # A moment that a fork is done by; one that is late is a process that joins the others.
        warm = await start(budget_url, server, limit="40/700ms", requests=0)
        assert await finished(warm) == 0
        together = time.time() + 0.5
        processes = [await start(budget_url, server, limit="40/700ms", requests=15, at=together) for _ in range(8)]
        assert [await finished(process) for process in processes] == [15] * 8
    assert len(server.moments) == 120
    assert most_in_any_window(server.moments, 0.7) <= 40


@pytest.mark.slow
async def test_killed_in_a_burst(budget_url: str) -> None:
    """Processes that are killed in a burst and started again at once do not exceed the limit."""
    async with counting_server(latency=0.05) as server:
        for kills in range(1, 4):
            process = await start(budget_url, server, limit="12/1s", requests=1000, workers=6)
            seen = len(server.moments)
            await until(lambda seen=seen: len(server.moments) >= seen + 4)  # type: ignore[misc]  # bound on purpose
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL, kills
        assert await finished(await start(budget_url, server, limit="12/1s", requests=20)) == 20
    assert most_in_any_window(server.moments, 1.0) <= 12


@pytest.mark.slow
async def test_stopped_process_delays_others_only(tmp_path: Path) -> None:
    """A process that is stopped while it holds the file only delays the others."""
    budget = f"sqlite:///{tmp_path / 'budget.sqlite'}"
    async with counting_server() as server:
        stopped = await start(budget, server, limit="20/1s", requests=1000)
        await until(lambda: len(server.moments) >= 5)
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            assert await finished(await start(budget, server, limit="20/1s", requests=25)) == 25
        finally:
            stopped.kill()
            stopped.communicate()
    assert most_in_any_window(server.moments, 1.0) <= 20
    assert read_usage(budget)[0].used <= 20
