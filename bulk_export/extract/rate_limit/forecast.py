"""When the requests that count in the limits now will count no more, as far as one process knows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from bulk_export.extract.rate_limit.interface import Limits, WindowUsage
from bulk_export.progress.time_left import WindowForecast

# Ends of requests that are remembered; of more, the oldest are taken for those of others.
_MOST_ENDS = 20_000


class OwnRequests:
    """The requests of this process: how many are in flight, and when the others ended. Times are seconds on one clock.

    Args:
        limits: The limits that the process keeps to.
        min_interval: Least seconds between two requests, of this process and probably of the others.
    """

    def __init__(self, limits: Limits, min_interval: float = 0.0) -> None:
        self._limits = limits
        self._min_interval = min_interval
        self._in_flight: set[int] = set()
        self._ends: deque[float] = deque(maxlen=_MOST_ENDS)
        # When requests of others were noticed first, by window, and how many there were.
        self._others: dict[int, tuple[int, float]] = {}

    def granted(self, identity: int) -> None:
        """Count a request that is about to be sent."""
        self._in_flight.add(identity)

    def ended(self, identity: int, now: float, *, sent: bool) -> None:
        """Count a request as over, or as never sent. One that was not granted is ignored."""
        if identity in self._in_flight:
            self._in_flight.remove(identity)
            if sent:
                self._ends.append(now)

    def ended_within(self, period: float, now: float) -> int:
        """Return how many requests ended in the latest period."""
        return sum(end > now - period for end in self._ends)

    def forecast(
        self, windows: Sequence[WindowUsage], *, seen_at: float, now: float, latency: float
    ) -> tuple[WindowForecast, ...]:
        """Return the window of the service, and one for all addresses together, which are used evenly.

        Requests of others, such as those of an interrupted run, have to be guessed. If it is known when a full window
        admits another request, and none of our own ends by then, the others end from then on, at the least interval.
        They count for a period from when they were noticed, at most.

        Args:
            windows: The usage of the service's window, then that of each address, as seen last.
            seen_at: When that was.
            now: The present.
            latency: Seconds until a request in flight is over.
        """
        service, *addresses = windows
        together = WindowUsage(
            sum(window.used for window in addresses), min((window.free_in for window in addresses), default=0.0)
        )
        limits = self._limits
        address_limit = limits.address_limit.requests * max(1, len(addresses))
        return (
            self._window(
                service, limits.service_limit.requests, limits.service_limit.period, (0, seen_at, now, latency)
            ),
            self._window(together, address_limit, limits.address_limit.period, (1, seen_at, now, latency)),
        )

    def _window(
        self, usage: WindowUsage, limit: int, period: float, when: tuple[int, float, float, float]
    ) -> WindowForecast:
        index, seen_at, now, latency = when
        # Those that ended since the windows were seen still count there.
        while self._ends and self._ends[0] + self._limits.longest_period <= seen_at:
            self._ends.popleft()
        own = [end + period - now for end in self._ends if end + period > now]
        counted = sum(end + period > seen_at for end in self._ends) + len(self._in_flight)
        others = self._free_of_others(index, usage, counted, period, (seen_at, now, own[0] if own else period))
        in_flight = (latency + period,) * len(self._in_flight)
        return WindowForecast(limit, period, (*sorted((*own, *others)), *in_flight))

    def _free_of_others(
        self, index: int, usage: WindowUsage, counted: int, period: float, when: tuple[float, float, float]
    ) -> tuple[float, ...]:
        seen_at, now, first_own = when
        count = usage.used - counted
        if count <= 0:
            self._others.pop(index, None)
            return ()
        before, since = self._others.get(index, (0, seen_at))
        if count > before:
            since = seen_at if before == 0 else since
        self._others[index] = (count, since)
        latest = max(0.0, since + period - now)
        free_in = seen_at + usage.free_in - now
        if usage.free_in > 0.0 and 0.0 < free_in <= first_own:
            return tuple(min(max(latest, free_in), free_in + number * self._min_interval) for number in range(count))
        return (latest,) * count
