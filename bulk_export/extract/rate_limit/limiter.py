"""Permission to send, one request at a time: the windows, spacing, holds, and the order of those who wait."""

from __future__ import annotations

import contextlib
import math
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from aiolimiter import AsyncLimiter

from bulk_export.core.model import Limit
from bulk_export.core.notifier import Notifier
from bulk_export.errors import LocalFailure, ServiceFailing
from bulk_export.extract.rate_limit.clock import boot_clock
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome, Store, WindowUsage
from bulk_export.extract.rate_limit.retry_after import ServiceClock, read_refusal
from bulk_export.progress.observer import WindowUse

# A service that lets nothing through for so many periods and probes is not going to let us in.
_PATIENCE_PERIODS = 6
_PATIENCE_PROBES = 8
# A computed wait may fall short of its end by a rounding error; this much later it does not.
_LEAST_WAIT = 1e-6


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to put one request on the wire, from one local address (None: the system's choice).

    It is void after `fresh_until`, in seconds on the clock of the budget: see `RateLimiter.is_fresh`.
    """

    source: str | None
    identity: int
    fresh_until: float = math.inf


class RateLimiter:
    """Gives out slots in the order they are asked for, never more than all limits allow.

    The next slot is for the address that may send first. After a refusal nothing is given out until the hold
    is over, then a single slot until a request got through, then only as many as did before. `throttled`
    counts the refusals of this process. A slot is void `fresh_for` seconds after it was asked for, on a clock that
    `elapsed` reads and that runs on while the machine sleeps.
    """

    def __init__(
        self,
        store: Store,
        terms: Limits,
        *,
        min_interval: float = 0.0,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
        fresh_for: float = math.inf,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        self._fresh_for = fresh_for
        self._elapsed = elapsed or boot_clock().now
        self.throttled = 0
        self._store = store
        self._terms = terms
        self._spacing = AsyncLimiter(1, min_interval) if min_interval > 0 else None
        self._wall = wall
        self._uniform = uniform
        self._service_clock = ServiceClock()
        self._turn = anyio.Lock()
        self._changed = Notifier()
        self._changes = 0
        self._own_hold = -math.inf
        self._rooms: tuple[WindowUsage, ...] = (WindowUsage(0, 0.0),) * (1 + len(terms.sources))
        self._rooms_seen = -math.inf
        self._shut_since: tuple[float, int] | None = None
        self._unsettled: list[tuple[int, RequestOutcome]] = []

    async def acquire(self) -> Permit:
        """Wait until one request may be sent, which is then to be sent at once.

        Raises ServiceFailing where the service keeps refusing, and BudgetUnavailable where spent requests
        can no longer be counted.
        """
        async with self._turn:
            try:
                return await self._next_slot()
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await self._store.withdraw()
                raise

    def is_fresh(self, slot: Permit) -> bool:
        """Whether the request may still be sent; ask right before its bytes go out.

        The record expects a request to be over some time after its slot was given. A process that was stopped in
        between, or a machine that slept, would send it when the slot is somebody else's: such a slot is settled as
        unsent, and another one acquired.
        """
        return self._elapsed() <= slot.fresh_until

    async def settle(self, slot: Permit, outcome: RequestOutcome) -> None:
        """Say what became of a slot. Every slot must be settled, once, by this or by `refused`.

        It is done even where the caller is being cancelled. Where the record cannot be reached, the slot stays used
        until it can.
        """
        await self._settle(slot.identity, outcome)
        self._note_change()

    async def refused(
        self, slot: Permit, *, retry_after: str | None, date: str | None, longest: float | None = None
    ) -> float:
        """A 429: settle the slot, and hold all that share the record. The seconds until the next attempt.

        The headers may hold anything. An announced wait is kept to up to a period, or up to `longest` seconds
        where that is more.
        """
        self.throttled += 1
        wall = self._wall()
        refusal = read_refusal(
            retry_after=retry_after,
            date=date,
            wall=wall,
            period=self._terms.service_limit.period,
            uniform=self._uniform(),
            longest=longest,
            trusted=self._service_clock.trusts(date, wall=wall, elapsed=anyio.current_time()),
        )
        with anyio.CancelScope(shield=True):
            try:
                hold = await self._store.refuse(slot.identity, refusal)
            except LocalFailure:
                self._unsettled.append((slot.identity, RequestOutcome.FAILED))
                hold = refusal.pause(1)
        self._own_hold = anyio.current_time() + hold
        self._note_change()
        return hold

    def windows(self) -> list[WindowUse]:
        """The use of the common window, then of each address's, as last seen."""
        elapsed = anyio.current_time() - self._rooms_seen
        limits: list[tuple[str | None, Limit]] = [(None, self._terms.service_limit)]
        limits += [(source or "this machine", self._terms.address_limit) for source in self._terms.sources]
        return [
            WindowUse(
                address=address,
                limit=limit.requests,
                period=limit.period,
                used=room.used,
                next_free_in=max(0.0, room.free_in - elapsed),
            )
            for (address, limit), room in zip(limits, self._rooms, strict=True)
        ]

    async def aclose(self) -> None:
        """Let the record go. Slots that were never settled stay on it for as long as their requests could take."""
        with anyio.CancelScope(shield=True), contextlib.suppress(LocalFailure):
            await self._settle_the_rest()
            await self._store.close()

    async def _next_slot(self) -> Permit:
        while True:
            await self._sit_out_own_hold()
            identity = secrets.randbits(62)
            try:
                slot = await self._claimed(identity)
                if slot is not None and self._spacing is not None:
                    await self._spacing.acquire()
            except BaseException:
                await self._settle(identity, RequestOutcome.UNSENT)
                raise
            if slot is None:
                continue
            if self._own_hold > anyio.current_time() or not self.is_fresh(slot):
                await self._settle(identity, RequestOutcome.UNSENT)
                continue
            return slot

    async def _claimed(self, identity: int) -> Permit | None:
        """A slot, or None after the time that there was to wait."""
        changes = self._changes
        fresh_until = self._elapsed() + self._fresh_for
        reply = await self._store.claim(identity)
        if await self._settle_the_rest():
            self._note_change()
        self._rooms, self._rooms_seen = reply.rooms, anyio.current_time()
        self._give_up_in_the_end(reply.refusals)
        if isinstance(reply, Granted):
            return Permit(reply.source, identity, fresh_until)
        if self._changes == changes:
            with anyio.move_on_after(max(reply.delay, _LEAST_WAIT)):
                await self._changed.wait()
        return None

    async def _sit_out_own_hold(self) -> None:
        """A hold that was computed here is kept to even where the record could not be told of it."""
        wait = self._own_hold - anyio.current_time()
        if wait > 0:
            await anyio.sleep(wait)

    async def _settle(self, identity: int, outcome: RequestOutcome) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await self._store.settle(identity, outcome)
            except LocalFailure:
                self._unsettled.append((identity, outcome))

    async def _settle_the_rest(self) -> bool:
        """Put on record what could not be put there before; whether there was anything that now is.

        It was safe not to know it: until it is settled a slot is used.
        """
        settled = False
        with contextlib.suppress(LocalFailure):
            while self._unsettled:
                await self._store.settle(*self._unsettled[-1])
                self._unsettled.pop()
                settled = True
        return settled

    def _note_change(self) -> None:
        """Whoever waits for a slot asks again, even if it was asking just now."""
        self._changes += 1
        self._changed.notify_all()

    def _give_up_in_the_end(self, refusals: int) -> None:
        now = anyio.current_time()
        if refusals == 0:
            self._shut_since = None
        elif self._shut_since is None or refusals < self._shut_since[1]:
            self._shut_since = (now, refusals)
        else:
            since, at_first = self._shut_since
            waited = now - since
            if (
                waited >= _PATIENCE_PERIODS * self._terms.service_limit.period
                and refusals - at_first >= _PATIENCE_PROBES - 1
            ):
                raise ServiceFailing(
                    f"The service answered 429 to {refusals} requests in a row, for {waited / 60:.0f} minutes.",
                    kept="Every page stored so far is kept.",
                    next_step="Somebody else may be using the token; the same command goes on later.",
                )
