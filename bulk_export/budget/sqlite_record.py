"""What the budget file holds on one account, in statements."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from bulk_export.budget.account import Account
from bulk_export.budget.interface import Outcome, Terms
from bulk_export.budget.restraint import Restraint

_STATES = {None: 0, Outcome.ANSWERED: 1, Outcome.FAILED: 2}
# What stands for the system's own choice of a source address.
DEFAULT_ROUTE = ""


class Record:
    """Reads and writes within transactions of its caller's. Times are on the clock of the file."""

    def __init__(self, connection: sqlite3.Connection, account: Account, terms: Terms) -> None:
        self._connection = connection
        self._account = account
        self._terms = terms
        self._encoded_terms = msgspec.json.encode(terms).decode()

    def enter(self, now: float) -> None:
        """Make a place for the account, and throw out whatever in the file is of no more use to anybody."""
        self._execute("DELETE FROM waiting WHERE until <= ?", now)
        self._execute("DELETE FROM spent WHERE over_at <= ? - (SELECT reach FROM accounts WHERE number = account)", now)
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

    def standing(self) -> tuple[float, float, Restraint]:
        """How long a request matters to anybody, until when everything counts as used up, and what refusals taught."""
        query = "SELECT reach, full_until, restraint FROM accounts WHERE number = ?"
        rows = self._rows(query, self._account.number)
        if not rows:
            self._ensure_account()
            rows = self._rows(query, self._account.number)
        ((reach, full_until, restraint),) = rows
        return reach, full_until, Restraint() if restraint is None else msgspec.json.decode(restraint, type=Restraint)

    def keep(self, restraint: Restraint) -> None:
        """Put on record what refusals have taught."""
        text = None if restraint == Restraint() else msgspec.json.encode(restraint).decode()
        self._execute("UPDATE accounts SET restraint = ? WHERE number = ?", text, self._account.number)

    def spend(self, identity: int, source: str | None, over_at: float, outcome: Outcome | None) -> None:
        """A request that the service counts no later than `over_at`; `outcome` is None while it is under way."""
        self._execute(
            "INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?, ?)",
            identity,
            self._account.number,
            source or DEFAULT_ROUTE,
            over_at,
            _STATES[outcome],
        )

    def forget(self, identity: int) -> None:
        """A request that was never sent."""
        self._execute("DELETE FROM spent WHERE identity = ?", identity)

    def forget_before(self, moment: float, sources: Iterable[str | None]) -> None:
        """Requests from these addresses that matter to nobody any more."""
        for source in sources:
            self._execute(
                "DELETE FROM spent WHERE account = ? AND source = ? AND over_at <= ?",
                self._account.number,
                source or DEFAULT_ROUTE,
                moment,
            )

    def used(self, now: float) -> tuple[int, dict[str | None, int]]:
        """Slots taken, in all and by source address, each in the window that applies to it."""
        service, address = self._terms.service_limit.period, self._terms.address_limit.period
        rows = self._rows(
            "SELECT source, count(*) FROM spent WHERE account = ? AND over_at > ? GROUP BY source",
            self._account.number,
            now - address,
        )
        used_from = {source or None: count for source, count in rows}
        if service == address:
            return sum(used_from.values()), used_from
        ((used,),) = self._rows(
            "SELECT count(*) FROM spent WHERE account = ? AND over_at > ?", self._account.number, now - service
        )
        return used, used_from

    def got_through(self, now: float) -> int:
        """Requests of the latest period that were answered, and not refused."""
        ((count,),) = self._rows(
            "SELECT count(*) FROM spent WHERE account = ? AND over_at > ? AND state = ?",
            self._account.number,
            now - self._terms.service_limit.period,
            _STATES[Outcome.ANSWERED],
        )
        return int(count)

    def service_free_in(self, now: float, slots: int) -> float:
        """Seconds until `slots` of those taken in the common window are free."""
        period = self._terms.service_limit.period
        query = "SELECT over_at FROM spent WHERE account = ? AND over_at > ? ORDER BY over_at LIMIT 1 OFFSET ?"
        values = (self._account.number, now - period, slots - 1)
        return self._free_in(now, period, query, values) if slots > 0 else 0.0

    def address_free_in(self, now: float, source: str | None, slots: int) -> float:
        """Seconds until `slots` of those taken by one address are free."""
        period = self._terms.address_limit.period
        query = (
            "SELECT over_at FROM spent WHERE account = ? AND source = ? AND over_at > ? ORDER BY over_at"
            " LIMIT 1 OFFSET ?"
        )
        values = (self._account.number, source or DEFAULT_ROUTE, now - period, slots - 1)
        return self._free_in(now, period, query, values) if slots > 0 else 0.0

    def waits(self, ticket: int) -> bool:
        """Whether a place in the queue has not lapsed."""
        return bool(self._rows("SELECT 1 FROM waiting WHERE ticket = ?", ticket))

    def ahead(self, ticket: int | None, now: float) -> list[Terms]:
        """The terms of those who have waited for longer, the longest first."""
        self._execute("DELETE FROM waiting WHERE until <= ?", now)
        rows = self._rows(
            "SELECT terms FROM waiting WHERE account = ? AND ticket < ? ORDER BY ticket",
            self._account.number,
            (1 << 62) if ticket is None else ticket,
        )
        return [msgspec.json.decode(terms, type=Terms) for (terms,) in rows]

    def queue(self, ticket: int | None, until: float) -> int:
        """Keep a place in the queue, or take one at its end."""
        if ticket is not None:
            self._execute("UPDATE waiting SET until = ? WHERE ticket = ?", until, ticket)
            return ticket
        taken = self._connection.execute(
            "INSERT INTO waiting (account, until, terms) VALUES (?, ?, ?)",
            (self._account.number, until, self._encoded_terms),
        )
        return int(taken.lastrowid or 0)

    def leave_queue(self, ticket: int) -> None:
        """Give up a place in the queue."""
        self._execute("DELETE FROM waiting WHERE ticket = ?", ticket)

    def _ensure_account(self) -> None:
        self._execute(
            "INSERT OR IGNORE INTO accounts VALUES (?, ?, ?, ?, ?, ?, 0.0, NULL)",
            self._account.number,
            self._account.service,
            self._account.token,
            self._encoded_terms,
            self._terms.reach,
            self._terms.longest_request,
        )

    def _free_in(self, now: float, period: float, query: str, values: tuple[float | str, ...]) -> float:
        rows = self._rows(query, *values)
        return max(0.0, rows[0][0] + period - now) if rows else math.inf

    def _execute(self, statement: str, *values: float | int | str | None) -> None:
        self._connection.execute(statement, values)

    def _rows(self, query: str, *values: float | int | str) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()
