"""Wakes all tasks that wait for a change."""

from __future__ import annotations

import asyncio


class Notifier:
    """A condition variable without a lock, for tasks of one event loop.

    Check the condition before each `wait`. Between the check and the wait no other task runs, so no change is missed.

    Attributes:
        changes: The number of changes so far.
    """

    def __init__(self) -> None:
        self.changes = 0
        # None while nobody waits for the next change.
        self._next: asyncio.Event | None = None

    def notify_all(self) -> None:
        """Wake all tasks that wait now."""
        self.changes += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def wait(self) -> None:
        """Return at the next `notify_all`."""
        if self._next is None:
            self._next = asyncio.Event()
        await self._next.wait()
