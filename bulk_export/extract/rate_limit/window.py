"""An exact sliding window, as the other side counts. Pure: the time is always passed in, in seconds."""

from __future__ import annotations

import heapq
import math


class SlidingWindow:
    """Slots used in any `period` seconds, wherever between sending and answer they count.

    The service counts a request at some moment after we sent it and before its answer was here. So a slot is
    used from sending until a whole period after the answer, and only then free again: no two requests that
    share a slot can then fall into one window of the service's.
    """

    def __init__(self, period: float) -> None:
        self.period = period
        self._in_flight = 0
        self._free_at: list[float] = []

    def used(self, now: float) -> int:
        """How many slots are not free at `now`."""
        while self._free_at and self._free_at[0] <= now:
            heapq.heappop(self._free_at)
        return self._in_flight + len(self._free_at)

    def free_at(self, limit: int, now: float) -> float:
        """When fewer than `limit` slots are used: `now` at the earliest, infinity where answers must come first."""
        freed_first = self.used(now) - limit + 1
        if freed_first <= 0:
            return now
        if freed_first > len(self._free_at):
            return math.inf
        if freed_first == 1:
            return self._free_at[0]
        return heapq.nsmallest(freed_first, self._free_at)[-1]

    def take(self) -> None:
        """Use a slot for a request that is about to be sent."""
        self._in_flight += 1

    def answered(self, over_at: float) -> None:
        """The service counted a request no later than `over_at`: its answer was here, or none will come."""
        self._in_flight -= 1
        heapq.heappush(self._free_at, over_at + self.period)

    def give_back(self) -> None:
        """The request was never sent."""
        self._in_flight -= 1
