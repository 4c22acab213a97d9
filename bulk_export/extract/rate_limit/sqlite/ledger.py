"""The ledger in a SQLite file: shared by all processes that name the file, and remembered when they are gone.

Each step is one short transaction. A request stands in the file from before its sending, as if its response came as
late as it can; so a process that dies leaves nothing uncounted. Processes that have to wait take tickets of a queue in
the file, which lapse unless their holders ask again.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bulk_export.core.credentials import Token
from bulk_export.errors import BudgetUnavailable, LocalFailure
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.fairness import GRACE, SHORTEST_POLL, longest_poll, next_source
from bulk_export.extract.rate_limit.interface import Granted, InFlight, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import RouteFinder, requests_on, route_by_name
from bulk_export.extract.rate_limit.sqlite.file import file_failures, file_number, open_file
from bulk_export.extract.rate_limit.sqlite.statements import KeyState, LedgerTables
from bulk_export.extract.rate_limit.sqlite.timeline import Timeline
from bulk_export.extract.rate_limit.throttle_state import ThrottleState


@dataclass(frozen=True, slots=True)
class _Usage:
    """The requests that count at one moment, and the routes that this process can send on."""

    now: float
    routes: tuple[str, ...]
    used: int
    used_by_route: Mapping[str, int]


class SqliteLedger:
    """One process's access to the file at `path`. Blocking, for one thread at a time.

    Opening it and every step raise DamagedState for a file that is no budget file, is damaged or of a newer format, and
    BudgetUnavailable for one that cannot be used now.

    Args:
        path: The file, created if there is none.
        base_url: Address of the service.
        token: Token of the requests.
        limits: What to keep to.
        clock: Clock of this machine.
        find_route: Returns the route from a source address.
    """

    def __init__(
        self,
        path: Path,
        base_url: str,
        token: Token | None,
        limits: Limits,
        clock: BootClock,
        find_route: RouteFinder = route_by_name,
    ) -> None:
        self._path = path
        self._limits = limits
        self._find_route = find_route
        self._mark = secrets.randbits(62)
        self._in_flight: dict[int, InFlight] = {}
        self._ticket: int | None = None
        # The time of the transaction that several steps share, None outside of one.
        self._shared_now: float | None = None
        self._connection = open_file(path, clock)
        self._timeline = Timeline(self._connection, clock)
        try:
            with file_failures(path):
                self._file = file_number(path)
                (secret,) = self._connection.execute("SELECT key FROM state").fetchone()
                key = RateLimitKey.of(secret, base_url, token)
                self._tables = LedgerTables(self._connection, key, limits, self._timeline)
                with self._synced(), self._transaction() as now:
                    self._tables.enter(now)
                    self._timeline.mark_at_work(self._mark)
        except BaseException:
            self._connection.close()
            raise

    def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""
        with self._step() as now:
            state = self._tables.state(now)
            self._renew_in_flight(now)
            if self._ticket is not None and not self._tables.is_queued(self._ticket):
                self._ticket = None
            return self._decide(identity, now, state)

    def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`."""
        request = self._in_flight.get(identity)
        if request is None:
            return
        answered, sent = outcome is RequestOutcome.ANSWERED, outcome is not RequestOutcome.UNSENT
        with self._step() as now:
            if sent:
                self._tables.put_request(identity, request.route, self._limits.counted_by(now, outcome), outcome)
            else:
                self._tables.delete_request(identity)
            before = self._tables.state(now).throttle
            after = before.after_release(identity, answered=answered, sent=sent, claimed_at=request.claimed_at, now=now)
            if after != before:
                self._tables.put_throttle_state(after)
        del self._in_flight[identity]

    def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`. The request counts, since services count what they answer with 429."""
        request = self._in_flight.get(identity)
        with self._step() as now:
            throttle = self._tables.state(now).throttle
            if request is not None:
                self._tables.put_request(identity, request.route, now, RequestOutcome.FAILED)
                throttle = throttle.after_429(
                    identity,
                    claimed_at=request.claimed_at,
                    now=now,
                    got_through=self._tables.got_through(now),
                    configured_limit=self._limits.service_limit.requests,
                    retry_after=retry_after,
                )
                self._tables.put_throttle_state(throttle)
        self._in_flight.pop(identity, None)
        return max(0.0, throttle.hold_until - now)

    def leave_queue(self) -> None:
        """As `Ledger.leave_queue`. If it fails, the ticket lapses by itself."""
        if self._ticket is not None:
            with contextlib.suppress(LocalFailure), self._step():
                self._give_up_ticket()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Carry out the steps within in one transaction, all or none of them."""
        in_flight, ticket = dict(self._in_flight), self._ticket
        try:
            with self._step() as now:
                self._shared_now = now
                yield
        except BaseException:
            self._in_flight, self._ticket = in_flight, ticket
            raise
        finally:
            self._shared_now = None

    def close(self) -> None:
        """Close the file, with everything synced."""
        try:
            with file_failures(self._path), self._synced(), self._transaction():
                self._give_up_ticket()
                self._timeline.remove_mark(self._mark)
        finally:
            self._connection.close()

    def _decide(self, identity: int, now: float, state: KeyState) -> Granted | Wait:
        routes = tuple(self._find_route(source) for source in self._limits.sources)
        limits, tables, throttle = self._limits.with_routes(routes), self._tables, state.throttle
        configured_limit, is_probe = limits.service_limit.requests, throttle.consecutive_429s > 0
        limit = configured_limit if is_probe else throttle.effective_limit(configured_limit, now)
        blocked_for = max(throttle.blocked_for(now), state.full_until - now)
        used, used_by_route = tables.used(now)
        usage = _Usage(now, routes, used, used_by_route)
        tables.delete_requests_before(now - state.longest_period, {*routes, *used_by_route})
        ahead = tables.ahead(self._ticket, now)
        index = next_source(limits, effective_limit=limit, used=used, used_by_route=used_by_route, ahead=ahead)
        if blocked_for > 0 or index is None:
            free_in = min(self._free_in(usage, limit, ahead), throttle.grows_in(configured_limit, now))
            delay = min(max(blocked_for, free_in, SHORTEST_POLL), longest_poll(limits))
            self._ticket = tables.enqueue(self._ticket, now + delay + GRACE, limits)
            ceiling = throttle.ceiling_now(configured_limit, now)
            return Wait(delay, throttle.consecutive_429s, self._windows(usage, blocked_for), ceiling)
        route, recorded_until = routes[index], now + limits.longest_request
        tables.put_request(identity, route, recorded_until, None)
        self._in_flight[identity] = InFlight(route, now, recorded_until)
        self._give_up_ticket()
        if is_probe:
            probe_until = now + min(limits.longest_request, limits.service_limit.period)
            tables.put_throttle_state(throttle.with_probe(identity, probe_until))
        elif throttle != ThrottleState() and throttle.is_over(configured_limit, now):
            tables.put_throttle_state(ThrottleState())
        counted = {**used_by_route, route: used_by_route.get(route, 0) + 1}
        windows = self._windows(replace(usage, used=used + 1, used_by_route=counted), 0.0)
        ceiling = throttle.ceiling_now(configured_limit, now)
        return Granted(self._limits.sources[index], throttle.consecutive_429s, windows, ceiling)

    def _free_in(self, usage: _Usage, limit: int, ahead: Sequence[Limits]) -> float:
        """Return the seconds until the windows have room after those ahead who can use it took their permits."""
        rivals = sum(1 for other in ahead if other.service_limit.requests >= limit)
        address_limit = self._limits.address_limit.requests
        address_free_in = min(
            self._tables.address_free_in(usage.now, route, usage.used_by_route, address_limit) for route in usage.routes
        )
        return max(address_free_in, self._tables.service_free_in(usage.now, usage.used - limit + 1 + rivals))

    def _windows(self, usage: _Usage, blocked_for: float) -> tuple[WindowUsage, ...]:
        now, blocked_for = usage.now, max(0.0, blocked_for)
        service_limit, address_limit = self._limits.service_limit.requests, self._limits.address_limit.requests
        service_free_in = self._tables.service_free_in(now, usage.used - service_limit + 1)
        windows = [WindowUsage(usage.used, max(blocked_for, service_free_in))]
        for route in usage.routes:
            free_in = self._tables.address_free_in(now, route, usage.used_by_route, address_limit)
            windows.append(WindowUsage(requests_on(route, usage.used_by_route), max(blocked_for, free_in)))
        return tuple(windows)

    def _renew_in_flight(self, now: float) -> None:
        """Record again the requests in flight whose records lapsed because this process was stopped for long."""
        for identity, request in list(self._in_flight.items()):
            if request.recorded_until <= now:
                recorded_until = now + self._limits.longest_request
                self._tables.put_request(identity, request.route, recorded_until, None)
                self._in_flight[identity] = replace(request, recorded_until=recorded_until)

    def _give_up_ticket(self) -> None:
        if self._ticket is not None:
            self._tables.leave_queue(self._ticket)
            self._ticket = None

    @contextlib.contextmanager
    def _step(self) -> Iterator[float]:
        if self._shared_now is not None:
            yield self._shared_now
            return
        with file_failures(self._path):
            if file_number(self._path) != self._file:
                raise BudgetUnavailable(
                    f"The budget file {self._path} was replaced by another.",
                    kept="Nothing is sent without counting it.",
                    next_step="Run the same command again.",
                )
            with self._transaction() as now:
                yield now

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[float]:
        """Commit what is done within, or nothing of it; gives the time on the timeline of the file."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._timeline.advance()
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _synced(self) -> Iterator[None]:
        """Sync what is committed within, and everything before it."""
        self._connection.execute("PRAGMA synchronous = FULL")
        yield
        self._connection.execute("PRAGMA synchronous = NORMAL")
