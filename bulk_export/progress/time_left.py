"""The time that a run still takes under its limits: a pure function of what is left to do.

The limits are sliding windows. A request counts from sending until a period after its response. So of `N` requests in a
period, each one waits until the `N`th before it counts no more. `seconds_left` follows this rule from request to
request on virtual time, with the requests that count already, with holds, and with the ceiling after a 429.

The work is bounded. What needs no simulation of single requests:

1. A window that is never the one to wait for, since another one with no shorter period admits fewer requests.
2. Requests that find a free place in every window: none of them waits for a limit.
3. After each window was filled, all further `N` requests take as long as the `N` before: their time is multiplied.
4. Windows of many thousands of requests: groups of requests take the place of single ones.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

# Case 4: larger windows are simulated with groups.
_LARGEST_WINDOW = 1_000
# Requests that are simulated one by one; a step takes a microsecond or two. The rest goes on at their rate.
_MOST_STEPS = 1_500
# Case 3: what is multiplied are the requests of whole windows, about so many. Several windows together repeat
# themselves less often than one does, and that evens out over a few rounds.
_REPEATED_STEPS = 60


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a service lets through after a 429: so many requests in a window, and `growth` more with each second."""

    requests: float
    growth: float

    def at(self, seconds: float) -> float:
        """Return the ceiling after some seconds of growth."""
        return self.requests + self.growth * max(0.0, seconds)

    def reaches_in(self, limit: float) -> float:
        """Return the seconds until it has grown to a limit; infinity if it does not grow."""
        missing = limit - self.requests
        if missing <= 0:
            return 0.0
        return missing / self.growth if self.growth > 0 else math.inf


@dataclass(frozen=True, slots=True)
class WindowForecast:
    """One limit: `free_in` has, for each request that counts now, the seconds until it counts no more."""

    limit: int
    period: float
    free_in: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests of one kind, which are sent after those of the stage before.

    Attributes:
        requests: How many.
        pace: Seconds from one to the next while no limit is reached.
        latency: Seconds from a request until its response is stored.
        writing: Seconds that it takes to write the records of one response.
    """

    requests: int
    pace: float
    latency: float
    writing: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkLeft:
    """What is left of a run.

    Attributes:
        stages: The requests that are not sent yet, in order.
        windows: The limits; `ceiling` holds for the first one.
        held_for: Seconds in which nothing is sent, whatever the limits allow.
        ceiling: What the service lets through after a 429; None if the limits apply.
        arriving: Seconds until the last response in flight is stored.
        backlog: Seconds that it takes to write the records that are stored.
    """

    stages: tuple[Stage, ...]
    windows: tuple[WindowForecast, ...] = ()
    held_for: float = 0.0
    ceiling: Ceiling | None = None
    arriving: float = 0.0
    backlog: float = 0.0

    @property
    def requests(self) -> int:
        """All requests that are left."""
        return sum(stage.requests for stage in self.stages)


def seconds_left(work: WorkLeft) -> float:
    """Return the seconds until everything is fetched and written. This takes a few milliseconds at most.

    >>> window = WindowForecast(limit=300, period=300.0)
    >>> seconds_left(WorkLeft((Stage(requests=901, pace=0.0, latency=1.0),), (window,)))
    904.0
    """
    work = _grouped(replace(work, windows=_needed(work)))
    simulation = _Simulation(work)
    for stage in work.stages:
        simulation.fetch(stage)
    all_writing = work.backlog + sum(stage.requests * stage.writing for stage in work.stages)
    return max(simulation.finished, simulation.written, all_writing)


def _needed(work: WorkLeft) -> tuple[WindowForecast, ...]:
    """Return the windows that may have to be waited for: cases 1 and 2."""
    requests = work.requests
    kept = [
        window
        for index, window in enumerate(work.windows)
        if (index == 0 and work.ceiling is not None) or requests > window.limit - len(window.free_in)
    ]
    for window in tuple(kept):
        if window is work.windows[0] and work.ceiling is not None:
            continue
        if any(other is not window and _is_tighter(other, window) for other in kept):
            kept.remove(window)
    return tuple(kept)


def _is_tighter(other: WindowForecast, window: WindowForecast) -> bool:
    """Whether all that one window admits fits into another one, whatever counts in that already."""
    return other.period >= window.period and other.limit + len(window.free_in) <= window.limit


def _grouped(work: WorkLeft) -> WorkLeft:
    """Return the work with groups of requests in place of requests, if a window is large: case 4."""
    size = math.ceil(max((window.limit for window in work.windows), default=0) / _LARGEST_WINDOW)
    if size <= 1:
        return work
    ceiling = work.ceiling and Ceiling(work.ceiling.requests / size, work.ceiling.growth / size)
    return replace(
        work,
        stages=tuple(
            Stage(math.ceil(stage.requests / size), stage.pace * size, stage.latency, stage.writing * size)
            for stage in work.stages
        ),
        windows=tuple(
            WindowForecast(max(1, window.limit // size), window.period, tuple(sorted(window.free_in)[::size]))
            for window in work.windows
        ),
        ceiling=ceiling,
    )


class _Window:
    """A limit on virtual time. `counted` has the moments at which requests stop to count, in order."""

    def __init__(self, forecast: WindowForecast) -> None:
        self.limit = max(1, forecast.limit)
        self.period = forecast.period
        self.counted = deque(sorted(forecast.free_in))

    def free_at(self, moment: float, limit: int) -> float:
        """Return when fewer than `limit` requests count, at `moment` or later."""
        counted = self.counted
        while counted and counted[0] <= moment:
            counted.popleft()
        excess = len(counted) - limit + 1
        return counted[excess - 1] if excess > 0 else moment

    def add(self, ends: float) -> None:
        """Count a request that ends at a moment."""
        counted, until = self.counted, ends + self.period
        counted.append(until if not counted or counted[-1] <= until else counted[-1])


class _Simulation:
    """Sends the requests of a run one after the other, from the moment 0."""

    def __init__(self, work: WorkLeft) -> None:
        self.finished = work.arriving
        self.written = work.backlog
        self._windows = [_Window(window) for window in work.windows]
        self._ceiling, self._ceiling_since = work.ceiling, work.held_for
        self._next = work.held_for
        self._steps = 0

    def fetch(self, stage: Stage) -> None:
        """Send the requests of a stage, after the responses of the stage before."""
        left = stage.requests
        if left <= 0:
            return
        if self._steps:
            self._next = max(self._next, self.finished)
        if not self._windows:
            self._send_freely(stage, left)
            return
        while left and self._ceiling is not None and self._steps < _MOST_STEPS:
            self._send(stage)
            left -= 1
        # Every window is full by then, and the slowest one decides from when on the pattern repeats.
        for _ in range(min(left, max(window.limit for window in self._windows))):
            self._send(stage)
            left -= 1
        slowest = max(self._windows, key=lambda window: (window.period + stage.latency) / window.limit).limit
        length = slowest * max(1, _REPEATED_STEPS // slowest)
        if left > 2 * length or (left and self._steps >= _MOST_STEPS):
            before = self._next
            for _ in range(min(left, length)):
                self._send(stage)
            left -= min(left, length)
            # Case 3.
            repeated, left = divmod(left, length)
            self._skip(repeated * (self._next - before), repeated * length * stage.writing)
        for _ in range(left):
            self._send(stage)

    def _send(self, stage: Stage) -> None:
        self._steps += 1
        moment = self._admitted_at(self._next)
        arrived = moment + stage.latency
        for window in self._windows:
            window.add(arrived)
        self.finished = max(self.finished, arrived)
        self.written = max(self.written, arrived) + stage.writing
        self._next = moment + stage.pace

    def _send_freely(self, stage: Stage, requests: int) -> None:
        """Send requests that no limit delays."""
        self._steps += 1
        first = self._next + stage.latency
        last = first + (requests - 1) * stage.pace
        self.finished = max(self.finished, last)
        self.written = max(max(self.written, first) + requests * stage.writing, last + stage.writing)
        self._next += requests * stage.pace

    def _skip(self, seconds: float, writing: float) -> None:
        for window in self._windows:
            window.counted = deque(moment + seconds for moment in window.counted)
        self._next += seconds
        self.finished += seconds
        self.written = max(self.written + seconds, self.written + writing)

    def _admitted_at(self, moment: float) -> float:
        while True:
            free_at = moment
            for window in self._windows[1:] if self._ceiling is not None else self._windows:
                free_at = max(free_at, window.free_at(moment, window.limit))
            if self._ceiling is not None:
                free_at = max(free_at, self._under_ceiling(self._windows[0], self._ceiling, moment))
            if free_at <= moment:
                return moment
            moment = free_at

    def _under_ceiling(self, window: _Window, ceiling: Ceiling, moment: float) -> float:
        """Return when the first window has a place under the ceiling, or when that has grown by a place."""
        since = moment - self._ceiling_since
        reached = ceiling.at(since)
        if reached >= window.limit or any(
            reached >= other.limit and other.period >= window.period for other in self._windows[1:]
        ):
            self._ceiling = None
            return window.free_at(moment, window.limit)
        # A ceiling that was computed from seconds may fall short of a whole number by a rounding error.
        limit = max(1, math.floor(reached + 1e-9))
        free_at = window.free_at(moment, limit)
        if free_at <= moment or ceiling.growth <= 0:
            return free_at
        return min(free_at, self._ceiling_since + ceiling.reaches_in(limit + 1) + 1e-9)
