"""What a place that remembers spent requests must be able to do, and the values that pass to and from it.

A `Ledger` does each step at once, blocking, and reads its own clock; a `Store` is the same for an event loop.
All times in the values are seconds from now, since every place has a clock of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.retry_after import RetryAfter


class RequestOutcome(enum.Enum):
    """What became of a slot.

    The answer arrived; the request failed, but was counted by now if it ever is; it was given up and may yet be
    counted, when the service gets to it; or it was never sent.
    """

    ANSWERED = "answered"
    FAILED = "failed"
    GIVEN_UP = "given up"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process keeps to.

    `sources` are the local addresses it sends from, each with a window of `address_limit` under the common
    one of `service_limit`. A request is over at most `longest_request` seconds after its slot was claimed. One that
    was given up may be counted until `late` seconds later.
    """

    service_limit: Limit
    address_limit: Limit
    sources: tuple[str | None, ...]
    longest_request: float
    late: float = 0.0

    @property
    def reach(self) -> float:
        """For how many seconds after its end a request can still matter to one of the windows."""
        return max(self.service_limit.period, self.address_limit.period)

    def over_at(self, now: float, outcome: RequestOutcome) -> float:
        """The latest moment at which the service may count a request that came to this end now."""
        return now + self.late if outcome is RequestOutcome.GIVEN_UP else now


@dataclass(frozen=True, slots=True)
class WindowUsage:
    """The use of one window: slots taken, and seconds until one is free (0.0 when one is)."""

    used: int
    free_in: float


@dataclass(frozen=True, slots=True)
class Granted:
    """A slot, from `source`.

    Where `refusals` requests in a row were refused, it is the one that finds out whether that is over. `rooms`
    describes the common window, then that of each source, with this slot counted.
    """

    source: str | None
    refusals: int
    rooms: tuple[WindowUsage, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """No slot now; ask again after `delay` seconds, or when something of one's own has changed.

    `refusals` counts the requests refused in a row, 0 where the service refuses nothing.
    """

    delay: float
    refusals: int
    rooms: tuple[WindowUsage, ...]


class Ledger(Protocol):
    """Counts the requests of one process, under one set of terms, among those of all that share the record.

    `identity` is a number that its caller chose, new for each claim.
    """

    def claim(self, identity: int) -> Granted | Wait:
        """Take a slot if one is free; its request is in flight from here on."""

    def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """Say what became of a slot. One that is not in flight is let alone."""

    def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """Settle a slot whose request was refused, and hold everybody; the seconds that the hold still lasts."""

    def withdraw(self) -> None:
        """Leave the queue of waiting processes."""

    def close(self) -> None:
        """Release what is held. What was spent stays on record."""


class Store(Protocol):
    """A ledger that leaves the event loop alone. Each step is carried out even if its caller is cancelled."""

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""

    async def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.settle`."""

    async def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """As `Ledger.refuse`."""

    async def withdraw(self) -> None:
        """As `Ledger.withdraw`."""

    async def close(self) -> None:
        """As `Ledger.close`."""


class InLoop:
    """A store over a ledger that never blocks."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def claim(self, identity: int) -> Granted | Wait:
        """At once."""
        return self._ledger.claim(identity)

    async def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """At once."""
        self._ledger.settle(identity, outcome)

    async def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """At once."""
        return self._ledger.refuse(identity, refusal)

    async def withdraw(self) -> None:
        """At once."""
        self._ledger.withdraw()

    async def close(self) -> None:
        """At once."""
        self._ledger.close()


@dataclass(frozen=True, slots=True)
class Request:
    """A request on record: its route, how many seconds ago it was over, and whether it was sent with the token.

    One that may still be under way is over in the future, so less than 0 seconds ago.
    """

    route: str
    over_ago: float
    own: bool


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a store holds on one account: its requests, and those that others sent to the service with other tokens.

    The limit on an address is the address's, so those count there, too.
    """

    service: str
    token: str
    service_limit: Limit
    address_limit: Limit
    requests: tuple[Request, ...]
    held_for: float
