"""Counts the suspensions of all tasks of a loop, so that a test can act at the n-th one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that reports whenever it is suspended."""

    def __init__(self, inner: Coroutine[Any, Any, Any], suspended: Callable[[], None]) -> None:
        self._inner = inner
        self._suspended = suspended

    def send(self, value: Any, /) -> Any:
        given = self._inner.send(value)
        self._suspended()
        return given

    def throw(self, *error: Any) -> Any:
        given = self._inner.throw(*error)
        self._suspended()
        return given

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        # What the inspection of coroutines asks for: cr_frame, cr_running, …
        return getattr(self._inner, name)


@contextlib.contextmanager
def awaits_counted(loop: asyncio.AbstractEventLoop, number: int, act: Callable[[], None]) -> Iterator[None]:
    """Call `act` when tasks that start from now on have been suspended `number` times in all."""
    suspensions = 0

    def suspended() -> None:
        nonlocal suspensions
        suspensions += 1
        if suspensions == number:
            act()

    def factory(loop: Any, work: Any, **named: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Counted(work, suspended), loop=loop, **named)

    loop.set_task_factory(factory)
    try:
        yield
    finally:
        loop.set_task_factory(None)
