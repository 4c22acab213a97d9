"""When requests would be sent and done under the limits, played through on virtual time: nothing is sent."""

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
    """One limit: the requests sent under it, and when it is first used up, None where it never is.

    `address` counts the source addresses from 1; None is the limit on the whole service.
    """

    address: int | None
    limit: Limit
    requests: int
    filled_at: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """All times are seconds from the start. `pauses` are the waits for a limit, each from when until when.

    Only waits of more than a hundredth of the shorter period count as such.
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
    """Play through `requests` requests under the ledger that a real export counts with.

    `latency` is in seconds from sending to the whole answer; as a function it is asked for each request.
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
                self._answer_arrives()
            while self._clock.now < earliest:
                self._pass_until(earliest)
            ready = self._clock.now
            while isinstance(reply := self._ledger.claim(identity), Wait):
                self._pass_until(self._clock.now + reply.delay)
            now = self._clock.now
            if now - ready > self._least_pause:
                self._pauses.append((ready, now))
            earliest, sent_last = now + self._min_interval, now
            over = now + self._latency()
            heapq.heappush(self._in_flight, (over, identity))
            finished = max(finished, over)
            self._note(reply)
        return Schedule(
            self._requests,
            sent_last,
            finished,
            tuple(self._pauses),
            tuple(
                WindowSchedule(place or None, limit, self._spent[place], self._filled[place])
                for place, limit in enumerate(self._limits)
            ),
        )

    def _pass_until(self, moment: float) -> None:
        """Let time pass, but no further than to the next answer: it may be what was waited for."""
        if self._in_flight and self._in_flight[0][0] <= moment:
            self._answer_arrives()
        else:
            self._clock.now = max(self._clock.now, moment)

    def _answer_arrives(self) -> None:
        moment, identity = heapq.heappop(self._in_flight)
        self._clock.now = max(self._clock.now, moment)
        self._ledger.release(identity, RequestOutcome.ANSWERED)

    def _note(self, reply: Granted) -> None:
        places = (0, 1 + self._terms.sources.index(reply.source))
        for place in places:
            self._spent[place] += 1
        for place, (room, limit) in enumerate(zip(reply.windows, self._limits, strict=True)):
            if room.used >= limit.requests and self._filled[place] is None:
                self._filled[place] = self._clock.now
