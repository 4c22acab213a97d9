"""The SQL statements on the budget file, for one rate limit key.

Tables and columns have the names that the file's format gave them: `accounts` holds rate limit keys, `spent` requests,
`restraint` throttle states, `terms` limits, `over_at` the latest moment at which the service counted a request.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.extract.rate_limit.interface import Limits, RequestOutcome
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.routes import addresses, may_leave_from
from bulk_export.extract.rate_limit.sqlite.stored_values import (
    decode_limits,
    decode_throttle_state,
    encode_limits,
    encode_throttle_state,
)
from bulk_export.extract.rate_limit.sqlite.timeline import TOLERANCE, Timeline
from bulk_export.extract.rate_limit.throttle_state import ThrottleState

_STATES = {None: 0, RequestOutcome.ANSWERED: 1, RequestOutcome.FAILED: 2, RequestOutcome.GIVEN_UP: 2}
# The latest moment at which a request was counted: what another machine recorded may be off by the tolerance.
_COUNTED_BY = f"(over_at + (clock <> :clock) * {TOLERANCE})"


@dataclass(frozen=True, slots=True)
class KeyState:
    """What the file holds on one rate limit key and its service. Times are on the timeline of the file.

    Attributes:
        longest_period: Seconds for which a request matters to any process that uses the service.
        full_until: Until when every window counts as full, because requests may be missing.
        throttle: What responses with 429 have taught.
    """

    longest_period: float
    full_until: float
    throttle: ThrottleState


class LedgerTables:
    """Reads and writes the tables within transactions of its caller. Times are on the timeline of the file."""

    def __init__(self, connection: sqlite3.Connection, key: RateLimitKey, limits: Limits, timeline: Timeline) -> None:
        self._connection = connection
        self._timeline = timeline
        self._key = key
        self._limits = limits
        self._encoded_limits = encode_limits(limits)

    def enter(self, now: float) -> None:
        """Add the key if it is missing, and delete rows that no process needs any more."""
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
        self._ensure_key()
        self._execute(
            "UPDATE accounts SET terms = ?, reach = max(reach, ?), longest = max(longest, ?) WHERE number = ?",
            self._encoded_limits,
            self._limits.longest_period,
            self._limits.longest_request,
            self._key.number,
        )

    def state(self, now: float) -> KeyState:
        """Return the state of the key, with no moment further ahead than it can be."""
        query = "SELECT number, reach, longest, full_until, restraint FROM accounts WHERE service_number = ?"
        rows = self._rows(query, self._key.service_number)
        own = next((row for row in rows if row[0] == self._key.number), None)
        if own is None:
            self._ensure_key()
            rows = self._rows(query, self._key.service_number)
            own = next((row for row in rows if row[0] == self._key.number), None)
            if own is None:
                raise sqlite3.DatabaseError("the row of this key belongs to another service")
        # Requests that may be missing were sent from some address, with whatever token: the whole service counts.
        longest_period, longest_request, full_until = (max(row[column] for row in rows) for column in (1, 2, 3))
        return KeyState(
            longest_period,
            min(full_until, now + longest_period + longest_request),
            decode_throttle_state(own[4]).clamped(now, self._limits.longest_request),
        )

    def put_throttle_state(self, state: ThrottleState) -> None:
        """Record what responses with 429 have taught."""
        text = encode_throttle_state(state)
        self._execute("UPDATE accounts SET restraint = ? WHERE number = ?", text, self._key.number)

    def put_request(self, identity: int, route: str, counted_by: float, outcome: RequestOutcome | None) -> None:
        """Record a request that the service counts no later than `counted_by`; `outcome` is None while in flight."""
        self._execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?, ?, ?, ?)",
            identity,
            self._key.number,
            self._key.service_number,
            route,
            counted_by,
            _STATES[outcome],
            self._timeline.clock,
        )

    def delete_request(self, identity: int) -> None:
        """Delete a request that was never sent."""
        self._execute("DELETE FROM spent WHERE identity = ?", identity)

    def delete_requests_before(self, moment: float, routes: Iterable[str]) -> None:
        """Delete the requests on these routes that were counted before `moment`, whichever clock timed them."""
        for route in routes:
            self._execute(
                "DELETE FROM spent WHERE service = ? AND source = ? AND over_at <= ?",
                self._key.service_number,
                route,
                moment - TOLERANCE,
            )

    def used(self, now: float) -> tuple[int, dict[str, int]]:
        """Return the requests that count: those with this token, and by route those with any token."""
        used_by_route = self._count(
            "SELECT source, count(*) FROM spent WHERE service = :number AND {} GROUP BY source",
            self._key.service_number,
            now - self._limits.address_limit.period,
        )
        ((used,),) = self._count(
            "SELECT count(*) FROM spent WHERE account = :number AND {}",
            self._key.number,
            now - self._limits.service_limit.period,
        )
        return used, dict(used_by_route)

    def got_through(self, now: float) -> int:
        """Return the number of requests in the latest period that were answered, and not with 429."""
        ((count,),) = self._count(
            "SELECT count(*) FROM spent WHERE account = :number AND state = 1 AND {}",
            self._key.number,
            now - self._limits.service_limit.period,
        )
        return int(count)

    def service_free_in(self, now: float, count: int) -> float:
        """Return the seconds until `count` of the requests in the common window do not count any more."""
        period = self._limits.service_limit.period
        return self._free_in(now, period, "account = :number", self._key.number, count)

    def address_free_in(self, now: float, route: str, used_by_route: Mapping[str, int], limit: int) -> float:
        """Return the seconds until fewer than `limit` requests count for each address of a route."""
        number, period = self._key.service_number, self._limits.address_limit.period
        waits = []
        for address in addresses(route):
            shared = [other for other in used_by_route if may_leave_from(other, address)]
            count = sum(used_by_route[other] for other in shared) - limit + 1
            parameters = {f"route{index}": other for index, other in enumerate(shared)}
            condition = f"service = :number AND source IN ({', '.join(f':{name}' for name in parameters)})"
            waits.append(self._free_in(now, period, condition, number, count, **parameters))
        return max(waits)

    def is_queued(self, ticket: int) -> bool:
        """Return whether a ticket of the queue has not lapsed."""
        return bool(self._rows("SELECT 1 FROM waiting WHERE ticket = ?", ticket))

    def ahead(self, ticket: int | None, now: float) -> list[Limits]:
        """Return the limits of the processes that have waited longer, the longest first, with routes for sources."""
        self._execute("DELETE FROM waiting WHERE until <= ?", now)
        rows = self._rows(
            "SELECT terms FROM waiting WHERE account = ? AND ticket < ? ORDER BY ticket",
            self._key.number,
            (1 << 62) if ticket is None else ticket,
        )
        return [decode_limits(text) for (text,) in rows]

    def enqueue(self, ticket: int | None, until: float, limits: Limits) -> int:
        """Prolong a ticket of the queue until then, or take one at its end; return it."""
        if ticket is not None:
            self._execute("UPDATE waiting SET until = ? WHERE ticket = ?", until, ticket)
            return ticket
        row = self._connection.execute(
            "INSERT INTO waiting (account, until, terms) VALUES (?, ?, ?)",
            (self._key.number, until, encode_limits(limits)),
        )
        return int(row.lastrowid or 0)

    def leave_queue(self, ticket: int) -> None:
        """Give up a ticket of the queue."""
        self._execute("DELETE FROM waiting WHERE ticket = ?", ticket)

    def _ensure_key(self) -> None:
        self._execute(
            "INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, 0.0, NULL)",
            self._key.number,
            self._key.service_number,
            self._key.service,
            self._key.token,
            self._encoded_limits,
            self._limits.longest_period,
            self._limits.longest_request,
        )

    def _count(self, query: str, number: int, moment: float) -> list[tuple[Any, ...]]:
        """Run a query in whose braces stands the condition that a request was counted after `moment`."""
        condition = "over_at > :moment"
        if not self._timeline.alone:
            # The first half lets SQLite use the index.
            condition = f"over_at > :moment - {TOLERANCE} AND {_COUNTED_BY} > :moment"
        values = {"number": number, "moment": moment, "clock": self._timeline.clock}
        return self._connection.execute(query.format(condition), values).fetchall()

    def _free_in(self, now: float, period: float, condition: str, number: int, count: int, **parameters: str) -> float:
        """Return the seconds until `count` of the requests that meet a condition are a period old."""
        if count <= 0:
            return 0.0
        counted_by = "over_at" if self._timeline.alone else _COUNTED_BY
        rows = self._connection.execute(
            f"SELECT {counted_by} FROM spent WHERE {condition} AND {counted_by} > :moment"  # noqa: S608 - names of ours
            " ORDER BY 1 LIMIT 1 OFFSET :offset",
            {
                "number": number,
                "moment": now - period,
                "offset": count - 1,
                "clock": self._timeline.clock,
                **parameters,
            },
        ).fetchall()
        return max(0.0, rows[0][0] + period - now) if rows else math.inf

    def _execute(self, statement: str, *values: float | int | str | None) -> None:
        self._connection.execute(statement, values)

    def _rows(self, query: str, *values: float | int | str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()
