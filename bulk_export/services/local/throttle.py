"""Two ways to count requests. A request beyond the limit counts like any other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

from bulk_export.core.model import Limit


class Throttle(Protocol):
    """Counts requests by key."""

    limit: Limit

    def admits(self, key: str) -> bool:
        """Count a request. Return whether it is within the limit."""


class FixedWindows:
    """A counter per key for each window aligned to the epoch, as the real service has."""

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._window = -1
        self._counts: dict[str, int] = {}

    def admits(self, key: str) -> bool:
        """Count a request. Return whether it is within the limit."""
        window = math.floor(self._clock() / self.limit.period)
        if window != self._window:
            self._window = window
            self._counts.clear()
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= self.limit.requests


class RollingWindow:
    """The requests of the last period, as documented for the real service."""

    def __init__(self, limit: Limit, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._moments: dict[str, deque[float]] = {}

    def admits(self, key: str) -> bool:
        """Count a request. Return whether it is within the limit."""
        now = self._clock()
        moments = self._moments.setdefault(key, deque())
        while moments and moments[0] <= now - self.limit.period:
            moments.popleft()
        moments.append(now)
        return len(moments) <= self.limit.requests
