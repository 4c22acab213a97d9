"""Waits until a daily window is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from bulk_export.core.daily_window import Window

# The longest sleep, in seconds: the clock may be set or the machine suspended meanwhile.
_LONGEST_SLEEP = 30.0


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


class WindowGate:
    """Lets tasks pass while a daily window is open.

    Args:
        window: The daily window; None is always open.
        clock: Gives the current time with its time zone.
        closed: Called with the next opening when a wait begins, and again if that time changes during the wait.
    """

    def __init__(
        self, window: Window | None, *, clock: Callable[[], datetime] = utc_now, closed: Callable[[datetime], None]
    ) -> None:
        self._window = window
        self._clock = clock
        self._closed = closed

    def is_open(self) -> bool:
        """Whether the window is open now."""
        return self._window is None or self._window.open_at(self._clock())

    async def wait(self) -> None:
        """Return once the window is open, immediately if it is open now."""
        announced: datetime | None = None
        while self._window is not None and not self.is_open():
            now = self._clock()
            opens = self._window.next_opening(now)
            if opens != announced:
                self._closed(opens)
                announced = opens
            await anyio.sleep(min(_LONGEST_SLEEP, max(0.0, (opens - now).total_seconds())))
