"""What the budget file holds on one account, in statements."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from bulk_export.extract.rate_limit.interface import Limits, RequestOutcome
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.routes import addresses, leaves_from
from bulk_export.extract.rate_limit.sqlite.clock import TOLERANCE, Timeline
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

_STATES = {None: 0, RequestOutcome.ANSWERED: 1, RequestOutcome.FAILED: 2, RequestOutcome.GIVEN_UP: 2}
# When a request was over, at the latest: what another machine recorded may be off by the tolerance.
_OVER_AT = f"(over_at + (clock <> :clock) * {TOLERANCE})"


class Record:
    """Reads and writes within transactions of its caller's. Times are on the timeline of the file."""

    def __init__(
        self, connection: sqlite3.Connection, account: RateLimitKey, terms: Limits, timeline: Timeline
    ) -> None:
        self._connection = connection
        self._timeline = timeline
        self._account = account
        self._terms = terms
        self._encoded_terms = msgspec.json.encode(terms).decode()

    def enter(self, now: float) -> None:
        """Make a place for the account, and throw out whatever in the file is of no more use to anybody."""
        self._execute("DELETE FROM waiting WHERE until <= ?", now)
        self._execute(
            "DELETE FROM spent WHERE over_at <= ? - (SELECT max(reach) FROM accounts WHERE service_number = service)",
            now - TOLERANCE,
        )
        self._execute(
            "DELETE FROM accounts WHERE full_until <= ? AND restraint IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM spent WHERE account = number)",
            now,
        )
        self._ensure_account()
        self._execute(
            "UPDATE accounts SET terms = ?, reach = max(reach, ?), longest = max(longest, ?) WHERE number = ?",
            self._encoded_terms,
            self._terms.reach,
            self._terms.longest_request,
            self._account.number,
        )

    def standing(self, now: float) -> tuple[float, float, ThrottleState]:
        """How long a request matters to anybody, until when everything counts as used up, and what refusals taught."""
        query = "SELECT number, reach, longest, full_until, restraint FROM accounts WHERE service_number = ?"
        rows = self._rows(query, self._account.service_number)
        own = next((row for row in rows if row[0] == self._account.number), None)
        if own is None:
            self._ensure_account()
            rows = self._rows(query, self._account.service_number)
            own = next((row for row in rows if row[0] == self._account.number), None)
            if own is None:
                raise sqlite3.DatabaseError("the row of this key belongs to another service")
        restraint = ThrottleState() if own[4] is None else msgspec.json.decode(own[4], type=ThrottleState)
        # What was lost was sent from some address, with whatever token.
        reach, longest, full_until = (max(row[place] for row in rows) for place in (1, 2, 3))
        return (
            reach,
            min(full_until, now + reach + longest),
            restraint.possible(now, self._terms.longest_request),
        )

    def keep(self, restraint: ThrottleState) -> None:
        """Put on record what refusals have taught."""
        text = None if restraint == ThrottleState() else msgspec.json.encode(restraint).decode()
        self._execute("UPDATE accounts SET restraint = ? WHERE number = ?", text, self._account.number)

    def spend(self, identity: int, route: str, over_at: float, outcome: RequestOutcome | None) -> None:
        """A request that the service counts no later than `over_at`; `outcome` is None while it is under way."""
        self._execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?, ?, ?, ?)",
            identity,
            self._account.number,
            self._account.service_number,
            route,
            over_at,
            _STATES[outcome],
            self._timeline.clock,
        )

    def forget(self, identity: int) -> None:
        """A request that was never sent."""
        self._execute("DELETE FROM spent WHERE identity = ?", identity)

    def forget_before(self, moment: float, routes: Iterable[str]) -> None:
        """Requests on these routes that matter to nobody any more."""
        for route in routes:
            self._execute(
                "DELETE FROM spent WHERE service = ? AND source = ? AND over_at <= ?",
                self._account.service_number,
                route,
                moment - TOLERANCE,
            )

    def used(self, now: float) -> tuple[int, dict[str, int]]:
        """Slots taken: with this token, and by route whatever the token, each in the window that applies to it."""
        used_from = self._count(
            "SELECT source, count(*) FROM spent WHERE service = :number AND {} GROUP BY source",
            self._account.service_number,
            now - self._terms.address_limit.period,
        )
        ((used,),) = self._count(
            "SELECT count(*) FROM spent WHERE account = :number AND {}",
            self._account.number,
            now - self._terms.service_limit.period,
        )
        return used, dict(used_from)

    def got_through(self, now: float) -> int:
        """Requests of the latest period that were answered, and not refused."""
        ((count,),) = self._count(
            "SELECT count(*) FROM spent WHERE account = :number AND state = 1 AND {}",
            self._account.number,
            now - self._terms.service_limit.period,
        )
        return int(count)

    def service_free_in(self, now: float, slots: int) -> float:
        """Seconds until `slots` of those taken in the common window are free."""
        period = self._terms.service_limit.period
        return self._free_in(now, period, "account = :number", self._account.number, slots)

    def address_free_in(self, now: float, route: str, used_from: Mapping[str, int], most: int) -> float:
        """Seconds until each address of a route holds fewer than `most`. `used_from` counts by route."""
        waits = []
        for address in addresses(route):
            routes = [other for other in used_from if leaves_from(other, address)]
            slots = sum(used_from[other] for other in routes) - most + 1
            places = ", ".join(f":route{place}" for place in range(len(routes)))
            named = {f"route{place}": other for place, other in enumerate(routes)}
            condition = f"service = :number AND source IN ({places})"
            number, period = self._account.service_number, self._terms.address_limit.period
            waits.append(self._free_in(now, period, condition, number, slots, **named))
        return max(waits)

    def waits(self, ticket: int) -> bool:
        """Whether a place in the queue has not lapsed."""
        return bool(self._rows("SELECT 1 FROM waiting WHERE ticket = ?", ticket))

    def ahead(self, ticket: int | None, now: float) -> list[Limits]:
        """The terms of those who have waited for longer, the longest first."""
        self._execute("DELETE FROM waiting WHERE until <= ?", now)
        rows = self._rows(
            "SELECT terms FROM waiting WHERE account = ? AND ticket < ? ORDER BY ticket",
            self._account.number,
            (1 << 62) if ticket is None else ticket,
        )
        return [msgspec.json.decode(terms, type=Limits) for (terms,) in rows]

    def queue(self, ticket: int | None, until: float, terms: Limits) -> int:
        """Keep a place in the queue, or take one at its end."""
        if ticket is not None:
            self._execute("UPDATE waiting SET until = ? WHERE ticket = ?", until, ticket)
            return ticket
        taken = self._connection.execute(
            "INSERT INTO waiting (account, until, terms) VALUES (?, ?, ?)",
            (self._account.number, until, msgspec.json.encode(terms).decode()),
        )
        return int(taken.lastrowid or 0)

    def leave_queue(self, ticket: int) -> None:
        """Give up a place in the queue."""
        self._execute("DELETE FROM waiting WHERE ticket = ?", ticket)

    def _ensure_account(self) -> None:
        self._execute(
            "INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, 0.0, NULL)",
            self._account.number,
            self._account.service_number,
            self._account.service,
            self._account.token,
            self._encoded_terms,
            self._terms.reach,
            self._terms.longest_request,
        )

    def _count(self, query: str, number: int, moment: float) -> list[tuple[Any, ...]]:
        """Rows of those that were over after `moment`, which a place in `query` stands for."""
        condition = "over_at > :moment"
        if not self._timeline.alone:
            # The first half is for the index.
            condition = f"over_at > :moment - {TOLERANCE} AND {_OVER_AT} > :moment"
        values = {"number": number, "moment": moment, "clock": self._timeline.clock}
        return self._connection.execute(query.format(condition), values).fetchall()

    def _free_in(self, now: float, period: float, condition: str, number: int, slots: int, **routes: str) -> float:
        if slots <= 0:
            return 0.0
        over_at = "over_at" if self._timeline.alone else _OVER_AT
        rows = self._connection.execute(
            f"SELECT {over_at} FROM spent WHERE {condition} AND {over_at} > :moment"  # noqa: S608 - our own words
            " ORDER BY 1 LIMIT 1 OFFSET :slots",
            {
                "number": number,
                "moment": now - period,
                "slots": slots - 1,
                "clock": self._timeline.clock,
                **routes,
            },
        ).fetchall()
        return max(0.0, rows[0][0] + period - now) if rows else math.inf

    def _execute(self, statement: str, *values: float | int | str | None) -> None:
        self._connection.execute(statement, values)

    def _rows(self, query: str, *values: float | int | str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()
