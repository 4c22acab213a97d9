"""An export that is cancelled at its n-th await, for n = 1, 2, 3, … until it succeeds."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread
import pytest

from bulk_export.pipelines.export import export
from tests.support.disturbed_run import TUNING, cancel_many, small_options
from tests.support.small_service import content_of, small_service


async def cancel_each(room: Path, first: int, step: int) -> None:
    async with small_service() as service:
        await export(small_options(service.base_url, room / "undisturbed"), tuning=TUNING)
        content = content_of(room / "undisturbed")
        runs = await anyio.to_thread.run_sync(cancel_many, service.base_url, room, first, step)
        assert sum(run.cut for run in runs) > 50 / step
        for run in runs:
            assert (run.tasks, run.leaked) == (0, 0), run
            if run.again is not None:
                assert (run.again.exit_code, run.again.leaked) == (0, 0), run
            assert content_of(room / str(run.number)) == content, run


@pytest.mark.slow
@pytest.mark.parametrize("first", [3])
async def test_cancelled_at_any_await(room: Path, first: int) -> None:
    """An export that is cancelled at some of its awaits leaves nothing open, and goes on to the same bytes."""
    await cancel_each(room, first, 16)


@pytest.mark.torture
@pytest.mark.parametrize("first", range(1, 6))
async def test_cancelled_at_every_await(room: Path, first: int) -> None:
    """An export that is cancelled at each of its awaits leaves nothing open, and goes on to the same bytes."""
    await cancel_each(room, first, 5)
