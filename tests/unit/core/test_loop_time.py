"""The clock of the event loop."""

from __future__ import annotations

import anyio

from bulk_export.core.loop_time import loop_time


def test_same_clock_as_anyio() -> None:
    """It is the clock by which anyio keeps its deadlines."""

    async def main() -> tuple[float, float, float]:
        return anyio.current_time(), loop_time(), anyio.current_time()

    before, moment, after = anyio.run(main)
    assert before <= moment <= after
