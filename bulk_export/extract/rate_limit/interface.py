"""The interface of ledgers of spent requests, and the values that pass to and from them.

A `Ledger` carries out each step at once, blocking, and reads its own clock. An `AsyncLedger` offers the same steps to
an event loop. All times in these values are seconds from now, since every ledger has a clock of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Protocol

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.progress.time_left import Ceiling


class RequestOutcome(enum.Enum):
    """How the request of a permit ended, which decides until when it counts."""

    # The whole response arrived.
    ANSWERED = "answered"
    # The request failed; if the service counts it at all, it has by now.
    FAILED = "failed"
    # No response came in time; the service may still have the request in a queue, and count it later.
    GIVEN_UP = "given up"
    # The request was never sent, so it does not count.
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that one process keeps to, and bounds on the time that its requests take.

    Attributes:
        service_limit: Limit on all requests to the service with one token.
        address_limit: Limit on the requests from each of `sources`, whatever their token.
        sources: Local addresses to send from; None lets the system choose.
        longest_request: Seconds from claiming a permit to the latest end of its request.
        max_count_delay: Seconds after a request was given up within which the service may still count it.
    """

    service_limit: Limit
    address_limit: Limit
    sources: tuple[str | None, ...]
    longest_request: float
    max_count_delay: float = 0.0

    @property
    def longest_period(self) -> float:
        """Seconds after its end for which a request can still matter to one of the windows."""
        return max(self.service_limit.period, self.address_limit.period)

    def counted_by(self, now: float, outcome: RequestOutcome) -> float:
        """Return the latest moment at which the service may count a request that ended like this at `now`."""
        return now + self.max_count_delay if outcome is RequestOutcome.GIVEN_UP else now

    def with_routes(self, routes: tuple[str, ...]) -> Limits:
        """Return the same limits with the route of each source in its stead."""
        return replace(self, sources=routes)


@dataclass(frozen=True, slots=True)
class WindowUsage:
    """Requests that count in one window now, and seconds until it admits another (0.0 if it does)."""

    used: int
    free_in: float


@dataclass(frozen=True, slots=True)
class Granted:
    """Permission to send one request from `source`.

    If `consecutive_429s` is above 0, the request is the probe: it finds out whether the service still throttles.
    `windows` describes the common window, then that of each source, with this request counted. `ceiling` is what the
    service lets through at the moment, None if the configured limit applies.
    """

    source: str | None
    consecutive_429s: int
    windows: tuple[WindowUsage, ...]
    ceiling: Ceiling | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """No permit now: ask again after `delay` seconds, or when a request of this process ends.

    `consecutive_429s` counts the responses with 429 since the last request that got through; `ceiling` is as for
    `Granted`.
    """

    delay: float
    consecutive_429s: int
    windows: tuple[WindowUsage, ...]
    ceiling: Ceiling | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """A request in flight, as its process remembers it. Times are on the ledger's clock, in its unit.

    The ledger counts the request until `recorded_until` unless it is renewed or released before.
    """

    route: str
    claimed_at: float
    recorded_until: float


class Ledger(Protocol):
    """Counts the requests of one process among those of all processes that share the record.

    `identity` is a number that the caller chooses, a new one for each claim.
    """

    def claim(self, identity: int) -> Granted | Wait:
        """Claim a permit if one is free; its request counts as in flight from here on."""

    def release(self, identity: int, outcome: RequestOutcome) -> None:
        """Record how a request ended. An identity that is not in flight is ignored."""

    def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """Release a request that was answered with 429, and hold all processes.

        Returns:
            Seconds for which the hold still lasts.
        """

    def leave_queue(self) -> None:
        """Leave the queue of waiting processes."""

    def close(self) -> None:
        """Release all resources. Spent requests stay on record."""


class AsyncLedger(Protocol):
    """A ledger for an event loop, which it never blocks. Each step is carried out even if its caller is cancelled.

    Attributes:
        releases_at_once: Whether `release` returns before another task can run, so that no caller is cancelled in it.
    """

    releases_at_once: bool

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`."""

    async def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`."""

    async def leave_queue(self) -> None:
        """As `Ledger.leave_queue`."""

    async def close(self) -> None:
        """As `Ledger.close`."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request on record: its route, how many seconds ago the service counted it at the latest, and by which token.

    `counted_ago` is negative while the request may still be in flight. `own` says whether it was sent with the token of
    the record that lists it.
    """

    route: str
    counted_ago: float
    own: bool


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """The record of one rate limit key: its requests, and those sent to the service with other tokens.

    The others count too, since the limit on an address is common to all tokens. `token` is a keyed hash. `held_for` is
    the number of seconds for which nothing may be sent after a 429 or a loss of records.
    """

    service: str
    token: str
    service_limit: Limit
    address_limit: Limit
    requests: tuple[RecordedRequest, ...]
    held_for: float
