"""The ledger of a single run: nothing is shared, nothing remembered."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from bulk_export.extract.rate_limit.fairness import SHORTEST_POLL, next_source
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import Route, addresses, named_route
from bulk_export.extract.rate_limit.throttle_state import ThrottleState
from bulk_export.extract.rate_limit.window import SlidingWindow


@dataclass(frozen=True, slots=True)
class _InFlight:
    route: str
    claimed_at: float


class MemoryLedger:
    """Counts by a clock that is passed in: that of the event loop, or one of a simulation."""

    def __init__(self, terms: Limits, clock: Callable[[], float], route: Route = named_route) -> None:
        self._terms = terms
        self._clock = clock
        self._route = route
        self._service = SlidingWindow(terms.service_limit.period)
        self._addresses = defaultdict[str, SlidingWindow](lambda: SlidingWindow(terms.address_limit.period))
        self._in_flight: dict[int, _InFlight] = {}
        self._through: deque[float] = deque()
        self._restraint = ThrottleState()

    def claim(self, identity: int) -> Granted | Wait:
        """A slot from the address that may send, or the time to wait for one."""
        now = self._clock()
        restraint, terms = self._restraint, self._terms
        shut = restraint.shut_for(now)
        probing = restraint.refusals > 0
        believed = terms.service_limit.requests
        limit = believed if probing else restraint.limit(believed, now)
        routes = self._routes()
        used_from = {address: window.used(now) for address, window in self._addresses.items()}
        place = next_source(
            replace(terms, sources=routes), limit=limit, used=self._service.used(now), used_from=used_from
        )
        if shut or place is None:
            delay = max(shut, self._free_in(limit, routes, now)) or SHORTEST_POLL
            return Wait(delay, restraint.refusals, self.rooms())
        source = terms.sources[place]
        for window in self._windows(routes[place]):
            window.take()
        self._in_flight[identity] = _InFlight(routes[place], now)
        if probing:
            self._restraint = restraint.probing(identity, now + terms.longest_request)
        elif restraint.forgotten(believed, now):
            self._restraint = ThrottleState()
        return Granted(source, restraint.refusals, self.rooms())

    def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """Free the slot a period from now, or at once where nothing was sent."""
        request = self._in_flight.pop(identity, None)
        if request is None:
            return
        now = self._clock()
        answered = outcome is RequestOutcome.ANSWERED
        self._end(request, self._terms.over_at(now, outcome), sent=outcome is not RequestOutcome.UNSENT)
        if answered:
            self._got_through(now)
            self._through.append(now)
        self._restraint = self._restraint.settled(
            identity,
            answered=answered,
            sent=outcome is not RequestOutcome.UNSENT,
            claimed_at=request.claimed_at,
            now=now,
        )

    def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """Free the slot a period from now, since refused requests count, and hold."""
        now = self._clock()
        request = self._in_flight.pop(identity, None)
        if request is not None:
            self._end(request, now, sent=True)
            self._restraint = self._restraint.refused(
                identity,
                claimed_at=request.claimed_at,
                now=now,
                through=self._got_through(now),
                believed=self._terms.service_limit.requests,
                refusal=refusal,
            )
        return max(0.0, self._restraint.hold_until - now)

    def withdraw(self) -> None:
        """Nobody else waits here."""

    def close(self) -> None:
        """Nothing is held."""

    def rooms(self) -> tuple[WindowUsage, ...]:
        """The use of the common window, then of each address's."""
        now = self._clock()
        held = self._restraint.shut_for(now)
        limits = [([self._service], self._terms.service_limit.requests)]
        limits += [
            ([self._addresses[address] for address in addresses(route)], self._terms.address_limit.requests)
            for route in self._routes()
        ]
        rooms = []
        for windows, limit in limits:
            free_at = max(window.free_at(limit, now) for window in windows)
            used = max(window.used(now) for window in windows)
            rooms.append(WindowUsage(used, max(held, 0.0 if math.isinf(free_at) else free_at - now)))
        return tuple(rooms)

    def _routes(self) -> tuple[str, ...]:
        return tuple(self._route(source) for source in self._terms.sources)

    def _windows(self, route: str) -> list[SlidingWindow]:
        return [self._service, *(self._addresses[address] for address in addresses(route))]

    def _free_in(self, limit: int, routes: Iterable[str], now: float) -> float:
        most = self._terms.address_limit.requests
        address = min(max(self._addresses[one].free_at(most, now) for one in addresses(route)) for route in routes)
        grown = now + self._restraint.next_growth(self._terms.service_limit.requests, now)
        service = min(self._service.free_at(limit, now), max(grown, self._service.free_at(limit + 1, now)))
        return max(address, service) - now

    def _end(self, request: _InFlight, over_at: float, *, sent: bool) -> None:
        for window in self._windows(request.route):
            if sent:
                window.answered(over_at)
            else:
                window.give_back()

    def _got_through(self, now: float) -> int:
        while self._through and self._through[0] <= now - self._terms.service_limit.period:
            self._through.popleft()
        return len(self._through)
