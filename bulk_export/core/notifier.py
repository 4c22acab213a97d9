"""Wakes every task that waits for something to have changed."""

from __future__ import annotations

import anyio


class Notifier:
    """A condition without a lock, for tasks of one event loop: `wait` returns after the next `beat`."""

    def __init__(self) -> None:
        self._next = anyio.Event()

    def beat(self) -> None:
        """Wake all that wait now."""
        self._next.set()
        self._next = anyio.Event()

    async def wait(self) -> None:
        """Return at the next beat. Check what you wait for first: nothing can change in between."""
        await self._next.wait()
