"""An event loop on which time passes only when nothing else is left to do, and then at once."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Past each timer by a hair: code that compares times would otherwise find itself a rounding error too early,
# and ask again without end.
_HAIR = 1e-9


class _NoWaiting(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            self._jump(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing sleeps: when no task can run, the clock jumps to the next timer. For code without threads or sockets.

    As a `loop_factory` for `asyncio.Runner` or pytest-asyncio; the clock starts at 0. A state in which nothing
    can ever happen again is an error.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_NoWaiting(self._advance))

    def time(self) -> float:
        return self._now

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise RuntimeError("everything waits for something that no timer will bring about")
        scheduled = self._scheduled  # type: ignore[attr-defined]  # asyncio's own heap of timers
        # A timer that is due now may be one that is set again and again for the same moment.
        if scheduled and (timeout > 0 or scheduled[0].when() <= self._now):
            self._now = max(self._now, scheduled[0].when()) + _HAIR


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on virtual time, from 0."""

    async def call() -> T:
        return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(call())
