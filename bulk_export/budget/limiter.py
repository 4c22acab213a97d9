"""Permission to send, one request at a time: the common window, the address's own, spacing, and holds."""

from __future__ import annotations

import enum
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from aiolimiter import AsyncLimiter

from bulk_export.budget.refusal import pause_after_refusal
from bulk_export.budget.share import part_of
from bulk_export.budget.window import SlidingWindow
from bulk_export.errors import ServiceFailing
from bulk_export.model import Limit
from bulk_export.progress.observer import WindowUse
from bulk_export.pulse import Pulse

# A service that refuses this many single probes in a row, over several periods, is not going to let us in.
_MOST_REFUSALS = 25


class Outcome(enum.Enum):
    """What became of a slot: the answer arrived, the request failed but may have counted, or was never sent."""

    ANSWERED = "answered"
    FAILED = "failed"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Permission to put one request on the wire, from one local address (None: the system's choice)."""

    source: str | None


class Budget:
    """Gives out slots in the order they are asked for, never more than both limits allow.

    The next slot is for the source address that may send first. After a refusal nothing is given out until
    the hold is over, and then a single slot, until a request got through.
    """

    def __init__(
        self,
        service_limit: Limit,
        ip_limit: Limit,
        *,
        sources: Sequence[str | None],
        min_interval: float,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.throttled = 0
        self._service = SlidingWindow(service_limit)
        self._addresses = {source: SlidingWindow(ip_limit) for source in sources}
        self._spacing = AsyncLimiter(1, min_interval) if min_interval > 0 else None
        self._turn = anyio.Lock()
        self._changed = Pulse()
        self._hold_until = -math.inf
        self._refusals = 0
        self._probe: Slot | None = None
        self._wall = wall
        self._uniform = uniform

    async def acquire(self) -> Slot:
        """Wait until one request may be sent. Raises ServiceFailing where the service keeps refusing."""
        async with self._turn:
            source = await self._first_free()
            if self._spacing is not None:
                await self._spacing.acquire()
                source = await self._first_free()
            slot = Slot(source)
            self._service.take()
            self._addresses[source].take()
            if self._refusals:
                self._probe = slot
            return slot

    async def settle(self, slot: Slot, outcome: Outcome) -> None:
        """Say what became of a slot. Every slot must be settled, once."""
        now = anyio.current_time()
        for window in (self._service, self._addresses[slot.source]):
            if outcome is Outcome.UNSENT:
                window.give_back()
            else:
                window.answered(now)
        if slot is self._probe:
            self._probe = None
        if outcome is Outcome.ANSWERED:
            self._refusals = 0
        self._changed.beat()

    async def refused(self, slot: Slot, *, retry_after: str | None, date: str | None) -> float:
        """A 429: settle the slot, and hold everybody. The seconds until the next attempt."""
        self.throttled += 1
        now = anyio.current_time()
        # Requests that were on their way when the first refusal came say nothing new.
        if now >= self._hold_until or slot is self._probe:
            self._refusals += 1
            pause = pause_after_refusal(
                retry_after=retry_after,
                date=date,
                wall=self._wall(),
                period=self._service.limit.period,
                refusals=self._refusals,
                uniform=self._uniform(),
            )
            self._hold_until = now + pause
        refusals = self._refusals
        await self.settle(slot, Outcome.FAILED)
        self._refusals = refusals
        return max(0.0, self._hold_until - now)

    def windows(self) -> list[WindowUse]:
        """The use of the common window, then of each address's."""
        now = anyio.current_time()
        shown = [(None, self._service), *((source or "this machine", w) for source, w in self._addresses.items())]
        return [self._use(address, window, now) for address, window in shown]

    def _use(self, address: str | None, window: SlidingWindow, now: float) -> WindowUse:
        free_at = window.next_free(now)
        held = max(self._hold_until - now, 0.0)
        return WindowUse(
            address=address,
            limit=window.limit.requests,
            period=window.limit.period,
            used=window.used(now),
            next_free_in=held if math.isinf(free_at) else max(free_at - now, held),
        )

    async def _first_free(self) -> str | None:
        """Wait until some address may send, and say which."""
        while True:
            if self._refusals > _MOST_REFUSALS:
                raise ServiceFailing(
                    f"The service refused {self._refusals} requests in a row with status 429.",
                    kept="Every page stored so far is kept.",
                    next_step="Somebody else may be using the token; the same command goes on later.",
                )
            now = anyio.current_time()
            common = max(self._service.next_free(now), self._hold_until)
            source = min(self._addresses, key=lambda address: self._addresses[address].next_free(now))
            free_at = max(common, self._addresses[source].next_free(now))
            if self._probe is not None:
                free_at = math.inf
            if free_at <= now:
                return source
            with anyio.move_on_after(free_at - now):
                await self._changed.wait()


@asynccontextmanager
async def open_budget(
    service_limit: Limit,
    ip_limit: Limit,
    *,
    sources: Sequence[str | None] = (None,),
    min_interval: float,
    share: float = 1.0,
) -> AsyncIterator[Budget]:
    """A budget for this run. `share` is the part of both limits to use, rounded down, at least one request."""
    yield Budget(part_of(service_limit, share), part_of(ip_limit, share), sources=sources, min_interval=min_interval)
