"""The ledger of a single run: shared with no other process, and forgotten at the end."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

from bulk_export.extract.rate_limit.fairness import SHORTEST_POLL, next_source
from bulk_export.extract.rate_limit.interface import Granted, InFlight, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import RouteFinder, addresses, route_by_name
from bulk_export.extract.rate_limit.throttle_state import ThrottleState
from bulk_export.extract.rate_limit.window import SlidingWindow


class MemoryLedger:
    """Keeps its windows in memory.

    Args:
        limits: What to keep to.
        clock: Returns seconds: the clock of the event loop, or that of a simulation.
        find_route: Returns the route from a source address.
        addresses: The windows of the addresses by route, if other ledgers of this process count in them, too.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        find_route: RouteFinder = route_by_name,
        addresses: defaultdict[str, SlidingWindow] | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._find_route = find_route
        self._service = SlidingWindow(limits.service_limit.period)
        if addresses is None:
            addresses = defaultdict(lambda: SlidingWindow(limits.address_limit.period))
        self._addresses = addresses
        self._in_flight: dict[int, InFlight] = {}
        self._answered_at: deque[float] = deque()
        self._throttle = ThrottleState()
        # The limits with the routes of the last claim, which are nearly always those of the next one.
        self._routed = limits

    def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""
        now = self._clock()
        throttle, configured_limit = self._throttle, self._limits.service_limit.requests
        is_probe = throttle.consecutive_429s > 0
        limit = configured_limit if is_probe else throttle.effective_limit(configured_limit, now)
        routes = self._routes()
        if routes != self._routed.sources:
            self._routed = self._limits.with_routes(routes)
        index = next_source(
            self._routed,
            effective_limit=limit,
            used=self._service.used(now),
            used_by_route={address: window.used(now) for address, window in self._addresses.items()},
        )
        blocked_for = throttle.blocked_for(now)
        if blocked_for or index is None:
            delay = max(blocked_for, self._free_in(limit, routes, now)) or SHORTEST_POLL
            ceiling = throttle.ceiling_now(configured_limit, now)
            return Wait(delay, throttle.consecutive_429s, self._windows_at(now, routes), ceiling)
        for window in self._windows_of(routes[index]):
            window.add()
        self._in_flight[identity] = InFlight(routes[index], claimed_at=now, recorded_until=math.inf)
        if is_probe:
            self._throttle = throttle.with_probe(identity, now + self._limits.longest_request)
        elif throttle.is_over(configured_limit, now):
            self._throttle = ThrottleState()
        return Granted(
            self._limits.sources[index],
            throttle.consecutive_429s,
            self._windows_at(now, routes),
            throttle.ceiling_now(configured_limit, now),
        )

    def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`."""
        request = self._in_flight.pop(identity, None)
        if request is None:
            return
        now = self._clock()
        answered, sent = outcome is RequestOutcome.ANSWERED, outcome is not RequestOutcome.UNSENT
        for window in self._windows_of(request.route):
            if sent:
                window.end(self._limits.counted_by(now, outcome))
            else:
                window.remove()
        if answered:
            self._forget_answers(now)
            self._answered_at.append(now)
        self._throttle = self._throttle.after_release(
            identity, answered=answered, sent=sent, claimed_at=request.claimed_at, now=now
        )

    def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`. The request counts, since services count what they answer with 429."""
        now = self._clock()
        request = self._in_flight.pop(identity, None)
        if request is not None:
            for window in self._windows_of(request.route):
                window.end(now)
            self._forget_answers(now)
            self._throttle = self._throttle.after_429(
                identity,
                claimed_at=request.claimed_at,
                now=now,
                got_through=len(self._answered_at),
                configured_limit=self._limits.service_limit.requests,
                retry_after=retry_after,
            )
        return max(0.0, self._throttle.hold_until - now)

    def leave_queue(self) -> None:
        """Do nothing: no other process waits here."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def windows(self) -> tuple[WindowUsage, ...]:
        """Return the usage of the common window, then that of each source address."""
        return self._windows_at(self._clock(), self._routes())

    def _windows_at(self, now: float, routes: Iterable[str]) -> tuple[WindowUsage, ...]:
        blocked_for = self._throttle.blocked_for(now)
        address_limit = self._limits.address_limit.requests
        return (
            _usage([self._service], self._limits.service_limit.requests, now, blocked_for),
            *[
                _usage([self._addresses[address] for address in addresses(route)], address_limit, now, blocked_for)
                for route in routes
            ],
        )

    def _routes(self) -> tuple[str, ...]:
        return tuple(self._find_route(source) for source in self._limits.sources)

    def _windows_of(self, route: str) -> list[SlidingWindow]:
        return [self._service, *(self._addresses[address] for address in addresses(route))]

    def _free_in(self, limit: int, routes: Iterable[str], now: float) -> float:
        """Return the seconds until a request may go out: an ended one stops counting, or the ceiling has grown."""
        address_limit = self._limits.address_limit.requests
        address_free_at = min(
            max(self._addresses[address].free_at(address_limit, now) for address in addresses(route))
            for route in routes
        )
        grown_at = now + self._throttle.grows_in(self._limits.service_limit.requests, now)
        service_free_at = min(self._service.free_at(limit, now), max(grown_at, self._service.free_at(limit + 1, now)))
        return max(address_free_at, service_free_at) - now

    def _forget_answers(self, now: float) -> None:
        while self._answered_at and self._answered_at[0] <= now - self._limits.service_limit.period:
            self._answered_at.popleft()


def _usage(windows: Sequence[SlidingWindow], limit: int, now: float, blocked_for: float) -> WindowUsage:
    """Return the usage of the fullest of some windows with a common limit."""
    used = max([window.used(now) for window in windows])
    if used < limit:
        return WindowUsage(used, blocked_for)
    free_at = max([window.free_at(limit, now) for window in windows])
    return WindowUsage(used, max(blocked_for, 0.0 if math.isinf(free_at) else free_at - now))
