"""The least interval between two requests of one process."""

from __future__ import annotations

import math

import anyio

from bulk_export.core.loop_time import loop_time

# A computed wait may fall short of its end by a rounding error; this much later it does not.
_SHORTEST_WAIT = 1e-6


class Spacing:
    """Keeps a least interval between the ends of its waits, for one task at a time.

    Args:
        interval: The interval in seconds; 0.0 for none.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next_at = -math.inf

    async def wait(self) -> None:
        """Return once the interval since the last return is over. A wait that is cancelled does not count."""
        if not self._interval:
            return
        while (left := self._next_at - loop_time()) > 0:  # noqa: ASYNC110  # a timer may be early
            await anyio.sleep(max(left, _SHORTEST_WAIT))
        self._next_at = loop_time() + self._interval
