"""The sliding window of one limit, as the service counts. Pure: the time is always passed in, in seconds."""

from __future__ import annotations

import heapq
import math


class SlidingWindow:
    """Counts requests so that no window of `period` seconds at the service can hold more than were admitted here.

    The service counts a request at an unknown moment between its sending and the arrival of its response. If one
    request is counted late and the next one early, they are closer together at the service than they were sent.
    Therefore a request counts here from sending until a whole period after its end: two requests of which one makes
    room for the other are then at least a period apart at the service.

    >>> window = SlidingWindow(period=60.0)
    >>> window.add()
    >>> window.end(counted_by=3.0)
    >>> window.used(now=62.0), window.used(now=63.0)
    (1, 0)
    """

    def __init__(self, period: float) -> None:
        self.period = period
        self._in_flight = 0
        # The moments at which ended requests stop counting.
        self._expirations: list[float] = []

    def used(self, now: float) -> int:
        """Return how many requests count at `now`."""
        while self._expirations and self._expirations[0] <= now:
            heapq.heappop(self._expirations)
        return self._in_flight + len(self._expirations)

    def free_at(self, limit: int, now: float) -> float:
        """Return when fewer than `limit` requests count: `now` at the earliest.

        Returns infinity if requests in flight have to end first.
        """
        excess = self.used(now) - limit + 1
        if excess <= 0:
            return now
        if excess > len(self._expirations):
            return math.inf
        if excess == 1:
            return self._expirations[0]
        return heapq.nsmallest(excess, self._expirations)[-1]

    def add(self) -> None:
        """Count a request that is about to be sent."""
        self._in_flight += 1

    def end(self, counted_by: float) -> None:
        """End a request that the service counted no later than `counted_by`."""
        self._in_flight -= 1
        heapq.heappush(self._expirations, counted_by + self.period)

    def remove(self) -> None:
        """Stop counting a request that was never sent."""
        self._in_flight -= 1
