"""The least interval between two requests of one process."""

from __future__ import annotations

import anyio
import pytest

from bulk_export.extract.rate_limit.spacing import Spacing
from tests.support.virtual_time import run_virtually


def test_first_wait_is_none_and_each_other_lasts_the_interval() -> None:
    """The moments at which it lets through are an interval apart, or more if nobody asked."""

    async def main() -> list[float]:
        spacing = Spacing(2.0)
        moments = []
        for pause in (0.0, 0.0, 5.0, 0.5):
            await anyio.sleep(pause)
            await spacing.wait()
            moments.append(anyio.current_time())
        return moments

    assert run_virtually(main) == pytest.approx([0, 2, 7, 9], abs=1e-4)


def test_without_interval_it_never_waits() -> None:
    async def main() -> float:
        spacing = Spacing(0.0)
        for _ in range(3):
            await spacing.wait()
        return anyio.current_time()

    assert run_virtually(main) == 0


def test_cancelled_wait_does_not_count() -> None:
    """The interval goes on from the last request that was let through."""

    async def main() -> float:
        spacing = Spacing(2.0)
        await spacing.wait()
        with anyio.move_on_after(1.5):
            await spacing.wait()
        await spacing.wait()
        return anyio.current_time()

    assert run_virtually(main) == pytest.approx(2, abs=1e-4)
