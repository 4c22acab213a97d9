"""An exact sliding window, as the other side counts. Pure: the time is always passed in, in seconds."""

from __future__ import annotations

import heapq
import math

from bulk_export.model import Limit


class SlidingWindow:
    """At most `limit.requests` slots in any `limit.period` seconds, wherever between sending and answer they count.

    The service counts a request at some moment after we sent it and before its answer was here. So a slot is
    used from sending until a whole period after the answer, and only then free again: no two requests that
    share a slot can then fall into one window of the service's.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._in_flight = 0
        self._free_at: list[float] = []

    def used(self, now: float) -> int:
        """How many slots are not free at `now`."""
        self._expire(now)
        return self._in_flight + len(self._free_at)

    def next_free(self, now: float) -> float:
        """When a slot is free, `now` where one is; infinity while that depends on an answer yet to come."""
        excess = self.used(now) - self.limit.requests
        if excess < 0:
            return now
        if excess >= len(self._free_at):
            return math.inf
        return heapq.nsmallest(excess + 1, self._free_at)[-1]

    def take(self) -> None:
        """Use a slot for a request that is about to be sent."""
        self._in_flight += 1

    def answered(self, now: float) -> None:
        """The answer to a request was here at `now`, or it is known that none will come."""
        self._in_flight -= 1
        heapq.heappush(self._free_at, now + self.limit.period)

    def give_back(self) -> None:
        """The request was never sent."""
        self._in_flight -= 1

    def _expire(self, now: float) -> None:
        while self._free_at and self._free_at[0] <= now:
            heapq.heappop(self._free_at)
