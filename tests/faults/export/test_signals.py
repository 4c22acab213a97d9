"""A signal at any disk call, while it waits for a permit, or a second one: exit 130, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import anyio.to_thread
import pytest

from tests.support.command import FAST, run, service, start
from tests.support.disturbed_run import run_and_signal
from tests.support.small_service import content_of, small_service
from tests.support.warm_command import WarmProcess

# Where a process that hears a signal has to be gone after two seconds; machines that are busy have more.
GONE = 8.0


async def signal_each(room: Path, first: int, step: int) -> tuple[int, int]:
    """Signal exports at disk call `first`, `first + step`, … and run them again; how many stopped, how many ended."""
    async with small_service() as running:

        async def go(output: Path, number: int) -> int:
            return await anyio.to_thread.run_sync(run_and_signal, running.base_url, output, number)

        assert await go(room / "undisturbed", 0) == 0
        content = content_of(room / "undisturbed")
        codes = []
        for number in range(first, 360, step):
            output = room / str(number)
            codes.append(await go(output, number))
            assert codes[-1] in (0, 130)
            if codes[-1]:
                assert await go(output, 0) in (0, 2)  # it may be whole already
            assert content_of(output) == content, number
        return codes.count(130), codes.count(0)


@pytest.mark.slow
async def test_signal_at_any_disk_call(room: Path) -> None:
    """A signal at any disk call stops the export or comes too late, and nothing is lost."""
    stopped, ended = await signal_each(room, 1, 37)
    assert stopped > 3
    assert ended > 0


@pytest.mark.torture
@pytest.mark.parametrize("first", range(1, 6))
async def test_a_signal_at_every_disk_call(room: Path, first: int) -> None:
    stopped, _ = await signal_each(room, first, 5)
    assert stopped > 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_long_wait(tmp_path: Path, number: int) -> None:
    """A signal takes effect during a wait of minutes."""
    with service(tmp_path, "--no-limits", "--records", "3000") as url:
        wanted = ["npq-applications", "--base-url", url, "--output", "here", "--min-interval", "0"]
        limited = [*wanted, "--service-limit", "2/20m", "--progress", "none"]
        waiting = start("export", *limited, cwd=tmp_path, stderr=subprocess.PIPE)
        wait_until_spent(tmp_path, waiting)
        asked = time.monotonic()
        waiting.send_signal(number)
        _, said = waiting.communicate(timeout=30)
        assert (waiting.returncode, time.monotonic() - asked < GONE) == (130, True), said
        assert b"goes on from here" in said
        assert run("export", *wanted, *FAST, "--budget", "memory://", cwd=tmp_path).returncode == 0


def wait_until_spent(directory: Path, process: WarmProcess) -> None:
    """Until both pages that the limit allows are there, so that it waits for the next permit."""
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        shown = run("budget", "--json", cwd=directory)
        if '"used": 2' in shown.stdout:
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError("it never came to wait")
