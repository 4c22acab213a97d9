"""Whole exports that share a budget: side by side, killed and started again, from several addresses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import read_usage
from bulk_export.pipelines.export import export
from bulk_export.services.local import LocalService, serving
from tests.support.command import environment
from tests.support.exporting import QUICK, TOKEN, options, settings
from tests.support.sliding_log import most_in_any_window
from tests.support.warm_command import WarmProcess, run_warm

SERVICE_LIMIT, ADDRESS_LIMIT = Limit(24, 1.0), Limit(8, 1.0)
LIMITS = {"service_limit": SERVICE_LIMIT, "ip_limit": ADDRESS_LIMIT}
SOURCES = [f"127.0.0.{number}" for number in range(1, 5)]


def assert_within_limits(service: LocalService) -> None:
    assert 429 not in service.statuses
    log = list(service.log)
    assert most_in_any_window([record.at for record in log], 1.0) <= SERVICE_LIMIT.requests
    for source in {record.peer for record in log}:
        own = [record.at for record in log if record.peer == source]
        assert most_in_any_window(own, 1.0) <= ADDRESS_LIMIT.requests


@pytest.mark.slow
async def test_exports_from_four_addresses(tmp_path: Path) -> None:
    """Two exports at once from four addresses, and one right after them, are not throttled."""
    budget = f"sqlite:///{tmp_path / 'budget.sqlite'}"
    async with serving(settings(**LIMITS, windows="rolling", latency=0.02, latency_spread=0.9)) as service:

        async def run(name: str) -> None:
            chosen = options(
                service,
                tmp_path / name,
                "npq-applications",
                page_size=50,
                budget=budget,
                source_address=SOURCES,
                **LIMITS,
            )
            summary = await export(chosen, tuning=QUICK)
            assert summary.endpoints[0].records == 2_345
            assert summary.throttled == 0

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, "one")
            tasks.start_soon(run, "two")
        await run("three")
        assert_within_limits(service)
        assert {record.peer for record in service.log} == set(SOURCES)
    common, *_ = read_usage(budget)
    assert 0 < common.used <= SERVICE_LIMIT.requests


@pytest.mark.slow
async def test_restarted_export_is_not_throttled(tmp_path: Path) -> None:
    """An export that is killed in a burst and started again at once is not throttled."""
    async with serving(settings(**LIMITS, windows="rolling", latency=0.05)) as service:
        command = ["export", "participants-npq", "--base-url", service.base_url]
        command += ["--output", "out", "--page-size", "40", "--service-limit", "24/1s", "--ip-limit", "8/1s"]
        command += ["--min-interval", "0", "--workers", "3", "--progress", "none"]
        given = environment(BULK_EXPORT_TOKEN=TOKEN)
        # Beside the loop, which is the service: the first start of this kind imports everything.
        first = await anyio.to_thread.run_sync(
            lambda: WarmProcess(command, cwd=tmp_path, env=given, stdout=subprocess.DEVNULL)
        )
        with anyio.fail_after(20):
            while len(service.log) < 6:
                await anyio.sleep(0.005)
        first.kill()
        again = await anyio.to_thread.run_sync(lambda: run_warm(command, cwd=tmp_path, env=given))
        assert again.returncode == 0
        assert_within_limits(service)
    # The default budget is a file of the user, and this test's user has a state directory of its own.
    assert (tmp_path / "state" / "bulk-export" / "budget.sqlite").is_file()
