"""Waiting for a window, on virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from bulk_export.core.daily_window import Window
from bulk_export.core.window_gate import WindowGate
from tests.support.virtual_time import run_virtually

WINDOW = Window.of("01:00-05:00", "UTC")
BEGAN = datetime(2025, 1, 1, 22, tzinfo=UTC)


class WallClock:
    """The loop's time from `BEGAN`, and what a person sets it by."""

    def __init__(self) -> None:
        self.set_by = timedelta()

    def __call__(self) -> datetime:
        return BEGAN + timedelta(seconds=asyncio.get_running_loop().time()) + self.set_by


def test_it_waits_until_the_window_opens() -> None:
    """A wait is announced once, with the next opening, and ends there."""
    announced: list[datetime] = []
    clock = WallClock()

    async def wait() -> datetime:
        gate = WindowGate(WINDOW, clock=clock, closed=announced.append)
        assert not gate.is_open()
        await gate.wait()
        assert gate.is_open()
        return clock()

    opened = run_virtually(wait)
    assert announced == [datetime(2025, 1, 2, 1, tzinfo=UTC)]
    assert opened - announced[0] < timedelta(milliseconds=1)


def test_a_clock_that_is_set_is_noticed() -> None:
    """A clock that is set forward into the window ends the wait within half a minute."""
    clock = WallClock()

    async def wait() -> float:
        gate = WindowGate(WINDOW, clock=clock, closed=lambda _: None)

        async def set_the_clock() -> None:
            await anyio.sleep(100)
            clock.set_by = timedelta(hours=4)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(set_the_clock)
            await gate.wait()
        return asyncio.get_running_loop().time()

    assert 100 <= run_virtually(wait) <= 131


def test_a_cancelled_wait_ends_at_once() -> None:
    async def wait() -> float:
        with anyio.move_on_after(5):
            await WindowGate(WINDOW, clock=WallClock(), closed=lambda _: None).wait()
        return asyncio.get_running_loop().time()

    assert run_virtually(wait) == pytest.approx(5, abs=1e-3)


def test_without_a_window_it_is_always_open() -> None:
    gate = WindowGate(None, closed=lambda _: pytest.fail("there is nothing to wait for"))
    assert gate.is_open()
    assert run_virtually(gate.wait) is None
