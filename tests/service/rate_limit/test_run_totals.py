"""The totals of a run on a real Redis server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import BudgetUnavailable, UsageError
from bulk_export.extract.rate_limit.run_totals import RunTotals, add_to_totals, check_run, read_totals
from tests.support.redis_server import REDIS, SKIP_REASON, RedisProcess


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path)
    yield process
    process.kill()


@pytest.mark.skipif(REDIS is None, reason=SKIP_REASON)
async def test_totals(server: RedisProcess, caplog: pytest.LogCaptureFixture) -> None:
    """What several processes add at the same time is added up; a server that is away costs the numbers only."""
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(add_to_totals, server.url, "run", RunTotals(3, 1, 1))
    assert await read_totals(server.url, "run") == RunTotals(60, 20, 20)
    assert await read_totals(server.url, "other") == RunTotals()
    server.kill()
    await add_to_totals(server.url, "run", RunTotals(3, 1, 1))
    assert "lack 3 requests" in caplog.text
    with pytest.raises(BudgetUnavailable):
        await read_totals(server.url, "run")


@pytest.mark.parametrize(("run", "budget"), [("", "redis://h/0"), ("a\nb", "redis://h/0"), ("run", "sqlite://")])
def test_refused(run: str, budget: str) -> None:
    """A run has a printable name, and its budget is on a server."""
    with pytest.raises(UsageError):
        check_run(run, budget)
