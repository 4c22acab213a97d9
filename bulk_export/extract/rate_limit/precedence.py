"""Which of several rate limiters of one process is next: those that send to one service from the same addresses.

Each has a token, and so a limit on the service, of its own; the limits on the addresses are common. A permit goes to
the first in order that can use it, as one dispatcher serves one endpoint after the other: those behind get what it
leaves. It leaves permits while its own limit is used up, while it is throttled, and while it has no page to request.

Waiting in turn would finish nobody earlier than this, and would keep everybody half-read until the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import anyio

from bulk_export.core.loop_time import loop_time
from bulk_export.core.notifier import Notifier
from bulk_export.extract.rate_limit.interface import Granted, Limits, Wait
from bulk_export.extract.rate_limit.key import service_origin
from bulk_export.extract.rate_limit.window import SlidingWindow

# Seconds for which the limiter that sent last may claim again before those behind it may: it needs that long to choose
# its next page. Without it, those behind would take every other permit.
_TIME_TO_RETURN = 0.005
# A computed wait may fall short of its end by a rounding error; this much later it does not.
_SHORTEST_WAIT = 1e-6


class Precedence:
    """The limiters of one process, in order: a queue for each service, and one bound on the requests in flight.

    Args:
        most_in_flight: The most requests in flight together, so that memory does not depend on how many limiters
            there are.
    """

    def __init__(self, most_in_flight: int) -> None:
        self.bound = InFlightBound(most_in_flight)
        self._queues: dict[str, AddressQueue] = {}

    def queue_of(self, base_url: str) -> AddressQueue:
        """Return the queue of those that send to the service at an address."""
        origin = service_origin(base_url)
        if origin not in self._queues:
            self._queues[origin] = AddressQueue(self.bound)
        return self._queues[origin]


@dataclass(frozen=True, slots=True)
class Rank:
    """The place of a limiter among others: the lower its number, the earlier it is served."""

    precedence: Precedence
    number: int


class InFlightBound:
    """The most requests that limiters may have in flight together, to whatever service.

    Each service has an equal share that others cannot take, so that one that hangs does not stop the others. So there
    may be almost twice as many while a service that was alone meets a second one.
    """

    def __init__(self, most: int) -> None:
        self.ended = Notifier()
        self.services = 0
        self._most = most
        self._in_flight = 0

    def is_reached(self, own: int) -> bool:
        """Whether a request has to end before another one may start, to a service with `own` of them in flight."""
        return self._in_flight >= self._most and own >= max(1, self._most // max(1, self.services))

    def start(self) -> None:
        """Count a request that is about to be sent."""
        self._in_flight += 1

    def end(self) -> None:
        """Stop counting a request, and wake those that wait for that."""
        self._in_flight -= 1
        self.ended.notify_all()


class AddressQueue:
    """The limiters that send to one service from the same addresses.

    Args:
        bound: The bound on requests in flight, which other queues share.

    Attributes:
        ended: Notifies of requests that ended, those of other queues as well.
        released: Notifies all of them that a request of one has ended, which may have made room for any.
        wanting: The numbers of those that want a permit, and could send now if the addresses allow it.
        is_taken: Whether one of them is claiming a permit.
    """

    def __init__(self, bound: InFlightBound) -> None:
        bound.services += 1
        self._bound = bound
        self.released = Notifier()
        self.wanting: set[int] = set()
        self.is_taken = False
        self.turned = Notifier()
        self.ended = bound.ended
        self._in_flight = 0
        self._windows: defaultdict[str, SlidingWindow] | None = None
        self._sent_by, self._sent_at, self._spaced_until = 0, -math.inf, -math.inf

    @property
    def is_full(self) -> bool:
        """Whether a request has to end before another one may start."""
        return self._bound.is_reached(self._in_flight)

    def start(self) -> None:
        """Count a request that is about to be sent."""
        self._in_flight += 1
        self._bound.start()

    def end(self) -> None:
        """Stop counting a request."""
        self._in_flight -= 1
        self._bound.end()

    def windows(self, period: float) -> defaultdict[str, SlidingWindow]:
        """Return the windows of the addresses, by route, for ledgers in memory: they are common to all."""
        if self._windows is None:
            self._windows = defaultdict(lambda: SlidingWindow(period))
        return self._windows

    def sent(self, number: int, interval: float) -> None:
        """Note that a limiter got a permit, and that the next one may follow after an interval in seconds."""
        self._sent_by, self._sent_at = number, loop_time()
        self._spaced_until = self._sent_at + interval

    def opens_at(self, number: int) -> float:
        """Return when the next permit may be claimed by a limiter."""
        grace = _TIME_TO_RETURN if number > self._sent_by else 0.0
        return max(self._spaced_until, self._sent_at + grace)


class Turn:
    """The turns of one limiter in its queue.

    Args:
        queue: The queue.
        number: The number of the limiter in it.
        min_interval: Least seconds between a permit of this limiter and the next one of any.
        limits: The limits that the limiter keeps to.
    """

    def __init__(self, queue: AddressQueue, number: int, min_interval: float, limits: Limits) -> None:
        self.released = queue.released
        self._queue = queue
        self._number = number
        self._min_interval = min_interval
        self._limits = limits
        self._is_inside = False
        self._in_flight: set[int] = set()

    async def begin(self) -> None:
        """Wait until a permit may be claimed: nobody before wants one, and the least interval is over."""
        queue, number = self._queue, self._number
        queue.wanting.add(number)
        while True:
            if queue.is_taken or min(queue.wanting) < number:
                await queue.turned.wait()
            elif queue.is_full:
                await queue.ended.wait()
            elif (left := queue.opens_at(number) - loop_time()) > 0:
                with anyio.move_on_after(max(left, _SHORTEST_WAIT)):
                    await queue.turned.wait()
            else:
                queue.is_taken = self._is_inside = True
                queue.start()
                return

    def end(self, identity: int, reply: Granted | Wait) -> None:
        """Let others claim, now that the ledger has answered.

        Those behind wait on if the answer is to wait for an address, since they would have to wait for it, too.
        """
        if isinstance(reply, Granted):
            self._is_inside = self._queue.is_taken = False
            self._in_flight.add(identity)
            self._queue.sent(self._number, self._min_interval)
            self.step_aside()
        elif waits_for_address(reply, self._limits):
            self._leave()
            self._queue.turned.notify_all()
        else:
            self.step_aside()

    def step_aside(self) -> None:
        """Want no permit, for now or for good."""
        self._leave()
        self._queue.wanting.discard(self._number)
        self._queue.turned.notify_all()

    def release(self, identity: int) -> None:
        """Note that the request of a permit has ended; other identities are ignored."""
        if identity in self._in_flight:
            self._in_flight.discard(identity)
            self._queue.end()

    def close(self) -> None:
        """Leave the queue for good."""
        self.step_aside()
        for identity in list(self._in_flight):
            self.release(identity)

    def _leave(self) -> None:
        if self._is_inside:
            self._is_inside = self._queue.is_taken = False
            self._queue.end()


def waits_for_address(reply: Wait, limits: Limits) -> bool:
    """Whether it is an address that a limiter waits for first, rather than its own limit or the end of a hold."""
    service, *addresses = reply.windows
    if reply.consecutive_429s or any(window.used < limits.address_limit.requests for window in addresses):
        return False
    return service.free_in <= min(window.free_in for window in addresses)
