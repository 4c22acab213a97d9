"""When requests would be sent and answered under the limits, simulated on virtual time: nothing is sent."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome, Wait
from bulk_export.extract.rate_limit.memory import MemoryLedger


@dataclass(frozen=True, slots=True)
class WindowSchedule:
    """The use of one limit.

    Attributes:
        address: The source address, counted from 1; None for the limit on the whole service.
        limit: The limit.
        requests: How many requests were sent under it.
        filled_at: When it is first reached, in seconds from the start; None if it never is.
    """

    address: int | None
    limit: Limit
    requests: int
    filled_at: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """The simulated requests. All times are seconds from the start.

    `pauses` are the waits for a limit, each with its start and end. Waits of up to a hundredth of the shorter period
    are not among them.
    """

    requests: int
    sent_last: float
    finished: float
    pauses: tuple[tuple[float, float], ...]
    windows: tuple[WindowSchedule, ...]


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def schedule(
    requests: int,
    *,
    service_limit: Limit,
    address_limit: Limit,
    addresses: int = 1,
    min_interval: float = 0.0,
    latency: Callable[[], float] | float = 0.0,
    workers: int = 8,
) -> Schedule:
    """Simulate `requests` requests under the ledger that a real export uses.

    Args:
        requests: The number of requests.
        service_limit: The limit on the whole service.
        address_limit: The limit on each source address.
        addresses: The number of source addresses.
        min_interval: The least time between two requests, in seconds.
        latency: Seconds from a request to the end of its response; a function is called for each request.
        workers: The largest number of requests in flight.
    """
    return _Simulation(requests, service_limit, address_limit, addresses, min_interval, latency, workers).run()


class _Simulation:
    def __init__(
        self,
        requests: int,
        service_limit: Limit,
        address_limit: Limit,
        addresses: int,
        min_interval: float,
        latency: Callable[[], float] | float,
        workers: int,
    ) -> None:
        self._requests = requests
        # The limit on the service first, then one for each address; the counters below are in the same order.
        self._limits = (service_limit, *itertools.repeat(address_limit, addresses))
        names = tuple(str(number) for number in range(1, addresses + 1))
        self._terms = Limits(service_limit, address_limit, names, longest_request=math.inf)
        self._min_interval = min_interval
        self._latency = latency if callable(latency) else itertools.repeat(latency).__next__
        self._workers = workers
        self._clock = _Clock()
        self._ledger = MemoryLedger(self._terms, self._clock)
        self._in_flight: list[tuple[float, int]] = []
        self._spent = [0] * (1 + addresses)
        self._filled: list[float | None] = [None] * (1 + addresses)
        self._pauses: list[tuple[float, float]] = []
        self._least_pause = min(service_limit.period, address_limit.period) / 100

    def run(self) -> Schedule:
        earliest = sent_last = finished = 0.0
        for identity in range(self._requests):
            while len(self._in_flight) >= self._workers:
                self._receive_response()
            while self._clock.now < earliest:
                self._advance_to(earliest)
            ready = self._clock.now
            while isinstance(reply := self._ledger.claim(identity), Wait):
                self._advance_to(self._clock.now + reply.delay)
            now = self._clock.now
            if now - ready > self._least_pause:
                self._pauses.append((ready, now))
            earliest, sent_last = now + self._min_interval, now
            answered = now + self._latency()
            heapq.heappush(self._in_flight, (answered, identity))
            finished = max(finished, answered)
            self._count(reply)
        return Schedule(
            self._requests,
            sent_last,
            finished,
            tuple(self._pauses),
            tuple(
                WindowSchedule(index or None, limit, self._spent[index], self._filled[index])
                for index, limit in enumerate(self._limits)
            ),
        )

    def _advance_to(self, moment: float) -> None:
        """Advance the clock, but not beyond the next response, which may end the wait."""
        if self._in_flight and self._in_flight[0][0] <= moment:
            self._receive_response()
        else:
            self._clock.now = max(self._clock.now, moment)

    def _receive_response(self) -> None:
        moment, identity = heapq.heappop(self._in_flight)
        self._clock.now = max(self._clock.now, moment)
        self._ledger.release(identity, RequestOutcome.ANSWERED)

    def _count(self, reply: Granted) -> None:
        for index in (0, 1 + self._terms.sources.index(reply.source)):
            self._spent[index] += 1
        for index, (window, limit) in enumerate(zip(reply.windows, self._limits, strict=True)):
            if window.used >= limit.requests and self._filled[index] is None:
                self._filled[index] = self._clock.now
