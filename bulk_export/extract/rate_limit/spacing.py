"""The least interval between two requests of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from bulk_export.core.loop_time import loop_time

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

# A computed wait may fall short of its end by a rounding error; this much later it does not.
_SHORTEST_WAIT = 1e-6


class Spacing:
    """Keeps a least interval between the ends of its waits, for one task at a time.

    The first wait returns at once, and only the second imports the library that does the others: the first request of a
    run is sent alone, and need not wait for that.

    Args:
        interval: The interval in seconds; 0.0 for none.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._first_at: float | None = None
        # It does only the spacing: a leaky bucket as a window would let almost twice its size through at first.
        self._limiter: AsyncLimiter | None = None

    async def wait(self) -> None:
        """Return once the interval since the last return is over. A wait that is cancelled does not count."""
        if not self._interval:
            return
        if self._limiter is None:
            if self._first_at is None:
                self._first_at = loop_time()
                return
            while (left := self._first_at + self._interval - loop_time()) > 0:  # noqa: ASYNC110  # a timer may be early
                await anyio.sleep(max(left, _SHORTEST_WAIT))
            from aiolimiter import AsyncLimiter

            self._limiter = AsyncLimiter(1, self._interval)
        await self._limiter.acquire()
