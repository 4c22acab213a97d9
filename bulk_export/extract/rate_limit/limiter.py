"""The rate limiter: permits to send, one request at a time, in the order they are asked for.

It combines the ledger, which knows the limits and the 429s of all processes that share it, with what concerns one
process alone: the least interval between requests, the lifetime of a permit, and when to give up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from bulk_export.core.loop_time import loop_time
from bulk_export.core.model import Limit
from bulk_export.core.notifier import Notifier
from bulk_export.core.text import counted
from bulk_export.core.units import format_duration
from bulk_export.errors import LocalFailure, ServiceFailing
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.forecast import OwnRequests
from bulk_export.extract.rate_limit.interface import AsyncLedger, Granted, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.precedence import Turn
from bulk_export.extract.rate_limit.retry_after import ServiceClock, read_429
from bulk_export.extract.rate_limit.spacing import Spacing
from bulk_export.extract.rate_limit.throttle_state import GROWTH_PERIODS
from bulk_export.progress.observer import WindowUse
from bulk_export.progress.time_left import Ceiling, WindowForecast

logger = logging.getLogger(__name__)

# A service that answers only 429 for this many periods, and to this many probes, is given up.
_PATIENCE_PERIODS = 6
_PATIENCE_PROBES = 8
# A computed wait may fall short of its end by a rounding error; this much later it does not.
_SHORTEST_WAIT = 1e-6


@dataclass(frozen=True, slots=True)
class Permit:
    """Permission to put one request on the wire, from one local address (None: the system's choice).

    It lapses after `fresh_until`, in seconds on the clock of its limiter: see `RateLimiter.is_fresh`.
    """

    source: str | None
    identity: int
    fresh_until: float = math.inf


class RateLimiter:
    """Grants permits in the order they are asked for, never more than all limits allow.

    The next permit is for the address that may send first. After a 429 none is granted until the hold is over, then a
    single one until a request got through, then only as many in a period as got through before.

    Args:
        ledger: Records spent requests, for this process or for all that share it.
        limits: Limits to keep to, the same that the ledger was opened with.
        min_interval: Least seconds between two permits.
        wall: Returns seconds since the epoch.
        uniform: Returns random numbers from 0 to 1.
        permit_lifetime: Seconds after which a permit lapses.
        elapsed: Returns seconds on a clock that goes on while the machine sleeps; by default the boot clock.
        turn: Its turns among limiters of this process that send from the same addresses. They keep the least interval
            together, so `min_interval` is not used then.

    Attributes:
        throttled: Responses with 429 that were reported to this limiter.
    """

    def __init__(
        self,
        ledger: AsyncLedger,
        limits: Limits,
        *,
        min_interval: float = 0.0,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
        permit_lifetime: float = math.inf,
        elapsed: Callable[[], float] | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.throttled = 0
        self._ledger = ledger
        self._limits = limits
        self._turn = turn
        self._spacing = Spacing(min_interval if turn is None else 0.0)
        self._wall = wall
        self._uniform = uniform
        self._permit_lifetime = permit_lifetime
        self._elapsed = elapsed or boot_clock().now
        self._service_clock = ServiceClock()
        # No other request of this process nor of another counts from the same random number.
        self._identities = itertools.count(secrets.randbits(62))
        # asyncio's own: whoever finds it free takes it at once. A turn of the event loop costs more than the claim, and
        # anyio's lock asks more than once which task is running.
        self._queue = asyncio.Lock()
        self._changed = Notifier() if turn is None else turn.released
        self._hold_until = -math.inf
        self._windows: tuple[WindowUsage, ...] = (WindowUsage(0, 0.0),) * (1 + len(limits.sources))
        self._windows_seen_at = -math.inf
        self._own = OwnRequests(limits, min_interval)
        self._ceiling: Ceiling | None = None
        self._is_throttled = False
        # The request of this process that finds out whether a hold is over.
        self._probe: int | None = None
        # When the service began to throttle, and the number of 429s in a row by then.
        self._throttled_since: tuple[float, int] | None = None
        self._unrecorded: list[tuple[int, RequestOutcome]] = []

    async def acquire(self) -> Permit:
        """Wait until one request may be sent, and return the permit for it, to be used at once.

        Raises:
            ServiceFailing: The service keeps answering 429.
            BudgetUnavailable: Spent requests can no longer be recorded.
        """
        async with self._queue:
            try:
                return await self._next_permit()
            except BaseException:
                if self._turn is not None:
                    self._turn.step_aside()
                with anyio.CancelScope(shield=True):
                    await self._ledger.leave_queue()
                raise

    def is_fresh(self, permit: Permit) -> bool:
        """Return whether a permit may still be used; ask right before the bytes of its request go out.

        The ledger expects a request to be over some time after its permit was claimed. A process that was stopped in
        between, or a machine that slept, would send it when its place in the window belongs to another request: such
        a permit is released as unsent, and another one acquired.
        """
        return self._elapsed() <= permit.fresh_until

    async def release(self, permit: Permit, outcome: RequestOutcome) -> None:
        """Record how the request of a permit ended. Every permit is released once, by this or by `report_throttled`.

        Carried out even if the caller is being cancelled. While the ledger cannot be reached, the request counts as in
        flight.
        """
        await self._release(permit.identity, outcome)
        self._wake_waiters()

    async def report_throttled(
        self, permit: Permit, *, retry_after: str | None, date: str | None, longest: float | None = None
    ) -> float:
        """Release a permit whose request was answered with 429, and hold all that share the ledger.

        Args:
            permit: Permit of the request.
            retry_after: The `Retry-After` header, which may hold anything.
            date: The `Date` header.
            longest: Most seconds for which an announced wait is kept to, if more than a period.

        Returns:
            Seconds until the next attempt.
        """
        self.throttled += 1
        wall = self._wall()
        parsed = read_429(
            retry_after=retry_after,
            date=date,
            wall=wall,
            period=self._limits.service_limit.period,
            uniform=self._uniform(),
            longest=longest,
            trusted=self._service_clock.trusts(date, wall=wall, elapsed=loop_time()),
        )
        self._expect_ceiling()
        self._own.ended(permit.identity, loop_time(), sent=True)
        self._probe = None if permit.identity == self._probe else self._probe
        if self._turn is not None:
            self._turn.release(permit.identity)
        with anyio.CancelScope(shield=True):
            try:
                hold = await self._ledger.report_throttled(permit.identity, parsed)
            except LocalFailure as error:
                logger.info("A 429 could not be recorded yet: %s", error.what)
                self._unrecorded.append((permit.identity, RequestOutcome.FAILED))
                hold = parsed.pause(1)
        logger.info("The service answered 429 (Retry-After: %s); nothing is sent for %.1f s", parsed.retry_after, hold)
        self._hold_until = loop_time() + hold
        self._wake_waiters()
        return hold

    def windows(self) -> list[WindowUse]:
        """Return the usage of the common window, then that of each source address, as last seen."""
        elapsed = loop_time() - self._windows_seen_at
        limits: list[tuple[str | None, Limit]] = [(None, self._limits.service_limit)]
        limits += [(source or "this machine", self._limits.address_limit) for source in self._limits.sources]
        return [
            WindowUse(
                address=address,
                limit=limit.requests,
                period=limit.period,
                used=window.used,
                # The probe is on its way, and its response decides.
                next_free_in=max(0.0, window.free_in - elapsed) if self._probe is None else 0.0,
            )
            for (address, limit), window in zip(limits, self._windows, strict=True)
        ]

    def forecast(self, latency: float) -> tuple[WindowForecast, ...]:
        """Return when the requests that count now will count no more: in the common window, and in all addresses'.

        Args:
            latency: Seconds until a request in flight is over.
        """
        return self._own.forecast(self._windows, seen_at=self._windows_seen_at, now=loop_time(), latency=latency)

    def ceiling(self) -> Ceiling | None:
        """Return what the service lets through after a 429, None if the limits apply."""
        if self._ceiling is None or self._is_throttled:
            return self._ceiling
        grown = self._ceiling.at(loop_time() - self._windows_seen_at)
        return Ceiling(grown, self._ceiling.growth) if grown < self._limits.service_limit.requests else None

    def held_for(self) -> float:
        """Return the seconds for which nothing is sent after a 429."""
        if not self._is_throttled or self._probe is not None:
            return self._held_for()
        return max(self._held_for(), self._windows[0].free_in - (loop_time() - self._windows_seen_at))

    async def aclose(self) -> None:
        """Close the ledger. Permits that were never released count for as long as their requests could take."""
        if self._turn is not None:
            self._turn.close()
        with anyio.CancelScope(shield=True), contextlib.suppress(LocalFailure):
            await self._record_the_unrecorded()
            await self._ledger.close()

    async def _next_permit(self) -> Permit:
        while True:
            # A hold that was computed here is kept to even if it could not be recorded.
            if hold := self._held_for():
                if self._turn is not None:
                    self._turn.step_aside()
                await anyio.sleep(hold)
            if self._turn is not None:
                await self._turn.begin()
            identity = next(self._identities)
            try:
                permit = await self._claim(identity)
                if permit is not None:
                    await self._spacing.wait()
            except BaseException:
                await self._release(identity, RequestOutcome.UNSENT)
                raise
            if permit is None:
                continue
            # Another request may have been answered with 429 while this one waited for its interval.
            if self._held_for() or not self.is_fresh(permit):
                await self._release(identity, RequestOutcome.UNSENT)
                continue
            return permit

    async def _claim(self, identity: int) -> Permit | None:
        """Return a permit, or None after the wait that the ledger asked for."""
        changes = self._changed.changes
        fresh_until = self._elapsed() + self._permit_lifetime
        reply = await self._ledger.claim(identity)
        if self._unrecorded and await self._record_the_unrecorded():
            self._wake_waiters()
        now = loop_time()
        self._windows, self._windows_seen_at = reply.windows, now
        self._ceiling, self._is_throttled = reply.ceiling, reply.consecutive_429s > 0 and isinstance(reply, Wait)
        if self._turn is not None:
            self._turn.end(identity, reply)
        self._give_up_in_the_end(reply.consecutive_429s, now)
        if isinstance(reply, Granted):
            self._own.granted(identity)
            self._probe = identity if reply.consecutive_429s else None
            return Permit(reply.source, identity, fresh_until)
        logger.debug("No permit now; asking again in %.3f s", reply.delay)
        # A request that ended during the claim may have made room, which the reply does not know of.
        if self._changed.changes == changes:
            with anyio.move_on_after(max(reply.delay, _SHORTEST_WAIT)):
                await self._changed.wait()
        return None

    async def _release(self, identity: int, outcome: RequestOutcome) -> None:
        self._own.ended(identity, loop_time(), sent=outcome is not RequestOutcome.UNSENT)
        self._probe = None if identity == self._probe else self._probe
        if self._turn is not None:
            self._turn.release(identity)
        if self._ledger.releases_at_once:
            await self._record_end(identity, outcome)
            return
        with anyio.CancelScope(shield=True):
            await self._record_end(identity, outcome)

    async def _record_end(self, identity: int, outcome: RequestOutcome) -> None:
        try:
            await self._ledger.release(identity, outcome)
        except LocalFailure as error:
            logger.info("The end of a request could not be recorded yet: %s", error.what)
            self._unrecorded.append((identity, outcome))

    def _expect_ceiling(self) -> None:
        """Guess the ceiling that the ledger sets after a 429; the next claim tells what it is."""
        if self._is_throttled:
            return
        limit, ceiling = self._limits.service_limit, self.ceiling()
        let_through = float(self._own.ended_within(limit.period, loop_time()))
        reached = let_through if ceiling is None else min(ceiling.requests, let_through)
        self._ceiling = Ceiling(max(1.0, reached), limit.requests / GROWTH_PERIODS / limit.period)
        self._is_throttled = True

    def _held_for(self) -> float:
        """Return the seconds of the hold that are left."""
        return 0.0 if self._hold_until == -math.inf else max(0.0, self._hold_until - loop_time())

    async def _record_the_unrecorded(self) -> bool:
        """Record the ends of requests that could not be recorded before; return whether there was one.

        Recording them late is safe: until then the requests count as in flight.
        """
        recorded = False
        with contextlib.suppress(LocalFailure):
            while self._unrecorded:
                await self._ledger.release(*self._unrecorded[-1])
                self._unrecorded.pop()
                recorded = True
        return recorded

    def _wake_waiters(self) -> None:
        """Make the task that waits for a permit claim again, even if a claim is under way."""
        self._changed.notify_all()

    def _give_up_in_the_end(self, consecutive_429s: int, now: float) -> None:
        """Raise ServiceFailing if the service has answered nothing but 429 for several periods and probes."""
        if consecutive_429s == 0:
            if self._throttled_since is not None:
                logger.info("The service lets requests through again")
            self._throttled_since = None
        elif self._throttled_since is None or consecutive_429s < self._throttled_since[1]:
            self._throttled_since = (now, consecutive_429s)
        else:
            since, at_first = self._throttled_since
            waited, probes = now - since, consecutive_429s - at_first
            if waited >= _PATIENCE_PERIODS * self._limits.service_limit.period and probes >= _PATIENCE_PROBES - 1:
                raise ServiceFailing(
                    f"The service answered 429 to {counted(consecutive_429s, 'request')} in a row,"
                    f" for {format_duration(waited)}.",
                    next_step="Somebody else may be using the token; run the same command again later.",
                )
