"""Waits until a daily window is open."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from bulk_export.core.daily_window import Window

# A clock that is set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 30.0


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


class WindowGate:
    """Lets through while `window` is open; without a window, always. `closed` hears of each wait and when it ends."""

    def __init__(
        self, window: Window | None, *, clock: Callable[[], datetime] = utc_now, closed: Callable[[datetime], None]
    ) -> None:
        self._window = window
        self._clock = clock
        self._closed = closed

    def is_open(self) -> bool:
        """Whether it lets through now."""
        return self._window is None or self._window.open_at(self._clock())

    async def wait(self) -> None:
        """Return once it is open, at once if it is."""
        announced: datetime | None = None
        while self._window is not None and not self.is_open():
            now = self._clock()
            opens = self._window.next_opening(now)
            if opens != announced:
                self._closed(opens)
                announced = opens
            await anyio.sleep(min(_LONGEST_SLEEP, max(0.0, (opens - now).total_seconds())))
