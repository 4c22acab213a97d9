"""When each of several tenants would be done, on virtual time: limits of their own, and common ones of addresses."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.precedence import waits_for_address
from bulk_export.extract.rate_limit.window import SlidingWindow


@dataclass(frozen=True, slots=True)
class TenantSchedule:
    """When the first request of a tenant is sent, and when its last one is answered, in seconds from the start."""

    began: float
    finished: float


def schedule_tenants(
    requests: Sequence[int],
    *,
    service_limit: Limit,
    address_limit: Limit,
    addresses: int = 1,
    min_interval: float = 0.0,
    latency: float = 0.0,
    workers: int = 8,
    in_turn: bool = False,
) -> list[TenantSchedule]:
    """Simulate the requests of several tenants, under the ledgers that real exports use.

    Args:
        requests: The number of requests of each tenant, at least one.
        service_limit: The limit on the requests with each token.
        address_limit: The limit on those from each address, with any token.
        addresses: The number of addresses.
        min_interval: The least time between two requests of any tenant, in seconds.
        latency: Seconds from a request to the end of its response.
        workers: The largest number of requests in flight, of all tenants together.
        in_turn: Whether tenants get permits in turn, rather than the first in order that can use it.

    Returns:
        The times of each tenant.
    """
    return _Simulation(requests, service_limit, address_limit, addresses, in_turn=in_turn).run(
        min_interval, latency, workers
    )


def least_seconds(
    requests: Sequence[int], *, service_limit: Limit, address_limit: Limit, addresses: int, min_interval: float
) -> float:
    """Return a bound below which no order of requests ends, even if each were answered at once.

    >>> least_seconds([600], service_limit=Limit(1000, 300), address_limit=Limit(300, 300), addresses=1, min_interval=0)
    300
    """
    total = sum(requests)
    return max(
        (total - 1) * min_interval,
        (total - 1) // (addresses * address_limit.requests) * address_limit.period,
        (max(requests) - 1) // service_limit.requests * service_limit.period,
    )


class _Simulation:
    def __init__(
        self, requests: Sequence[int], service_limit: Limit, address_limit: Limit, addresses: int, *, in_turn: bool
    ) -> None:
        names = tuple(str(number) for number in range(1, addresses + 1))
        self._limits = Limits(service_limit, address_limit, names, longest_request=math.inf)
        self._now = 0.0
        windows = defaultdict[str, SlidingWindow](lambda: SlidingWindow(address_limit.period))
        self._ledgers = [MemoryLedger(self._limits, lambda: self._now, addresses=windows) for _ in requests]
        self._left = list(requests)
        self._began: list[float | None] = [None] * len(requests)
        self._finished = [0.0] * len(requests)
        self._in_flight: list[tuple[float, int, int]] = []
        self._identities = itertools.count()
        self._in_turn = in_turn
        self._last = -1

    def run(self, min_interval: float, latency: float, workers: int) -> list[TenantSchedule]:
        earliest = 0.0
        while any(self._left):
            if len(self._in_flight) >= workers:
                self._receive_response()
            elif self._now < earliest:
                self._advance_to(earliest)
            else:
                delay = self._send(latency)
                if delay is None:
                    earliest = self._now + min_interval
                else:
                    self._advance_to(self._now + delay)
        return [
            TenantSchedule(began or 0.0, finished) for began, finished in zip(self._began, self._finished, strict=True)
        ]

    def _send(self, latency: float) -> float | None:
        """Send a request of the first tenant that may; return the seconds until one may if none may now."""
        delay = math.inf
        for tenant in self._order():
            identity = next(self._identities)
            reply = self._ledgers[tenant].claim(identity)
            if isinstance(reply, Granted):
                self._left[tenant] -= 1
                if self._began[tenant] is None:
                    self._began[tenant] = self._now
                self._finished[tenant] = self._now + latency
                heapq.heappush(self._in_flight, (self._now + latency, tenant, identity))
                self._last = tenant
                return None
            delay = min(delay, reply.delay)
            if waits_for_address(reply, self._limits):
                break  # so would all others
        return delay

    def _order(self) -> Iterator[int]:
        count = len(self._left)
        first = self._last + 1 if self._in_turn else 0
        return (number % count for number in range(first, first + count) if self._left[number % count])

    def _advance_to(self, moment: float) -> None:
        """Advance the clock, but not beyond the next response, which may end the wait."""
        if self._in_flight and self._in_flight[0][0] <= moment:
            self._receive_response()
        else:
            self._now = max(self._now, moment)

    def _receive_response(self) -> None:
        moment, tenant, identity = heapq.heappop(self._in_flight)
        self._now = max(self._now, moment)
        self._ledgers[tenant].release(identity, RequestOutcome.ANSWERED)
