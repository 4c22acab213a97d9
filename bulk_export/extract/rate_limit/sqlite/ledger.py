"""The ledger on disk: shared by all processes of a machine, and remembered when they are gone.

Each step is one short transaction. A request stands in the file from before its sending, as if its answer came
as late as it can; so a process that dies leaves nothing uncounted. Processes that have to wait queue up in the
file, and their places lapse unless they ask again.
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
from bulk_export.extract.rate_limit.clock import BootClock
from bulk_export.extract.rate_limit.fairness import GRACE, SHORTEST_POLL, longest_poll, next_source
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.key import account
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import Route, load, named_route
from bulk_export.extract.rate_limit.sqlite.clock import Timeline
from bulk_export.extract.rate_limit.sqlite.file import file_failures, file_number, open_file
from bulk_export.extract.rate_limit.sqlite.statements import Record
from bulk_export.extract.rate_limit.throttle_state import ThrottleState


@dataclass(frozen=True, slots=True)
class _InFlight:
    route: str
    claimed_at: float
    over_at: float


class SqliteLedger:
    """One process's hold on the file at `path`. Blocking, for one thread at a time.

    Opening and every step raise DamagedState for a file that is no budget file or is damaged, and
    BudgetUnavailable for one that cannot be used.
    """

    def __init__(
        self,
        path: Path,
        base_url: str,
        token: Token | None,
        terms: Limits,
        clock: BootClock,
        route: Route = named_route,
    ) -> None:
        self._path = path
        self._terms = terms
        self._route = route
        self._mark = secrets.randbits(62)
        self._in_flight: dict[int, _InFlight] = {}
        self._ticket: int | None = None
        self._connection = open_file(path, clock)
        self._timeline = Timeline(self._connection, clock)
        try:
            with file_failures(path):
                self._file = file_number(path)
                (key,) = self._connection.execute("SELECT key FROM state").fetchone()
                self._record = Record(self._connection, account(key, base_url, token), terms, self._timeline)
                with self._synced(), self._transaction() as now:
                    self._record.enter(now)
                    self._timeline.enter(self._mark)
        except BaseException:
            self._connection.close()
            raise

    def claim(self, identity: int) -> Granted | Wait:
        """A slot from the address that may send, or the time to wait for one."""
        with self._step() as now:
            reach, full_until, restraint = self._record.standing(now)
            self._renew_in_flight(now)
            if self._ticket is not None and not self._record.waits(self._ticket):
                self._ticket = None
            return self._decide(identity, now, reach, full_until, restraint)

    def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """Free the slot a period from now, or at once where nothing was sent."""
        request = self._in_flight.get(identity)
        if request is None:
            return
        sent = outcome is not RequestOutcome.UNSENT
        with self._step() as now:
            if sent:
                self._record.spend(identity, request.route, self._terms.over_at(now, outcome), outcome)
            else:
                self._record.forget(identity)
            *_, before = self._record.standing(now)
            after = before.settled(
                identity, answered=outcome is RequestOutcome.ANSWERED, sent=sent, claimed_at=request.claimed_at, now=now
            )
            if after != before:
                self._record.keep(after)
        del self._in_flight[identity]

    def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """Free the slot a period from now, since refused requests count, and hold."""
        request = self._in_flight.get(identity)
        with self._step() as now:
            *_, restraint = self._record.standing(now)
            if request is not None:
                self._record.spend(identity, request.route, now, RequestOutcome.FAILED)
                restraint = restraint.refused(
                    identity,
                    claimed_at=request.claimed_at,
                    now=now,
                    through=self._record.got_through(now),
                    believed=self._terms.service_limit.requests,
                    refusal=refusal,
                )
                self._record.keep(restraint)
        self._in_flight.pop(identity, None)
        return max(0.0, restraint.hold_until - now)

    def withdraw(self) -> None:
        """Leave the queue. Where that fails, the place in it lapses by itself."""
        if self._ticket is not None:
            with contextlib.suppress(LocalFailure), self._step():
                self._leave_queue()

    def close(self) -> None:
        """Close the file, with everything synced."""
        try:
            with file_failures(self._path), self._synced(), self._transaction():
                self._leave_queue()
                self._timeline.leave(self._mark)
        finally:
            self._connection.close()

    def _decide(
        self, identity: int, now: float, reach: float, full_until: float, restraint: ThrottleState
    ) -> Granted | Wait:
        routes = tuple(self._route(source) for source in self._terms.sources)
        terms, record = replace(self._terms, sources=routes), self._record
        believed, probing = terms.service_limit.requests, restraint.refusals > 0
        limit = believed if probing else restraint.limit(believed, now)
        shut = max(restraint.shut_for(now), full_until - now)
        used, used_from = record.used(now)
        record.forget_before(now - reach, {*routes, *used_from})
        ahead = record.ahead(self._ticket, now)
        place = next_source(terms, limit=limit, used=used, used_from=used_from, ahead=ahead)
        if shut > 0 or place is None:
            free_in = self._free_in(now, routes, limit, used, used_from, ahead)
            wait = max(shut, min(free_in, restraint.next_growth(believed, now)))
            delay = min(max(wait, SHORTEST_POLL), longest_poll(terms))
            self._ticket = record.queue(self._ticket, now + delay + GRACE, terms)
            return Wait(delay, restraint.refusals, self._rooms(now, routes, used, used_from, shut))
        source, route = self._terms.sources[place], routes[place]
        over_at = now + terms.longest_request
        record.spend(identity, route, over_at, None)
        self._in_flight[identity] = _InFlight(route, now, over_at)
        self._leave_queue()
        if probing:
            record.keep(restraint.probing(identity, now + min(terms.longest_request, terms.service_limit.period)))
        elif restraint != ThrottleState() and restraint.forgotten(believed, now):
            record.keep(ThrottleState())
        used_from[route] = used_from.get(route, 0) + 1
        return Granted(source, restraint.refusals, self._rooms(now, routes, used + 1, used_from, 0.0))

    def _free_in(
        self,
        now: float,
        routes: Sequence[str],
        limit: int,
        used: int,
        used_from: Mapping[str, int],
        ahead: Sequence[Limits],
    ) -> float:
        """Seconds until the windows have room, after those ahead who can use it have been served."""
        rivals = sum(1 for other in ahead if other.service_limit.requests >= limit)
        most = self._terms.address_limit.requests
        address = min(self._record.address_free_in(now, route, used_from, most) for route in routes)
        return max(address, self._record.service_free_in(now, used - limit + 1 + rivals))

    def _rooms(
        self, now: float, routes: Sequence[str], used: int, used_from: Mapping[str, int], shut: float
    ) -> tuple[WindowUsage, ...]:
        service, address = self._terms.service_limit.requests, self._terms.address_limit.requests
        rooms = [WindowUsage(used, max(shut, 0.0, self._record.service_free_in(now, used - service + 1)))]
        for route in routes:
            free_in = self._record.address_free_in(now, route, used_from, address)
            rooms.append(WindowUsage(load(route, used_from), max(shut, 0.0, free_in)))
        return tuple(rooms)

    def _renew_in_flight(self, now: float) -> None:
        """After a long stop of this process, requests that it still has under way must be counted again."""
        for identity, request in list(self._in_flight.items()):
            if request.over_at <= now:
                over_at = now + self._terms.longest_request
                self._record.spend(identity, request.route, over_at, None)
                self._in_flight[identity] = replace(request, over_at=over_at)

    def _leave_queue(self) -> None:
        if self._ticket is not None:
            self._record.leave_queue(self._ticket)
            self._ticket = None

    @contextlib.contextmanager
    def _step(self) -> Iterator[float]:
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
        """All or nothing, with the time at which it happens."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._timeline.tell()
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _synced(self) -> Iterator[None]:
        """Sync what is committed within, and all that was before."""
        self._connection.execute("PRAGMA synchronous = FULL")
        yield
        self._connection.execute("PRAGMA synchronous = NORMAL")
