"""What responses with 429 have taught about the service: when to hold, who may probe, and how much gets through.

The states that a throttling service passes through:

1. *Open*: no 429 so far. The configured limit applies.
2. *Hold*: a 429 arrived. Nobody who shares the record sends before `hold_until`.
3. *Probe*: the hold is over. A single request is sent, and everybody else waits for its end:
   a. answered: the service lets requests through again, see 4;
   b. 429: the next, longer hold begins, see 2;
   c. failed: another probe goes out a second later; if it was never sent, at once;
   d. never heard of again, because its process died: another probe goes out at `probe_until`.
4. *Reduced ceiling*: all send again, but no more in a period than got through before the first 429. The ceiling grows
   by a tenth of the configured limit in each period, until it is reached, see 1.

Pure: values go in with the time, a new value comes out. Times are seconds on the clock of the ledger that keeps it.
ledger.lua has the same rules for Redis; `tests/service/rate_limit/test_redis.py` compares the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.progress.time_left import Ceiling

# Periods without a 429 after which the ceiling has grown from nothing to the configured limit.
GROWTH_PERIODS = 10
# Seconds between a probe that got no response at all and the next one.
AFTER_LOST_PROBE = 1.0
# A number computed from seconds may fall short of a whole one by a rounding error.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """The state that all processes with one rate limit key share; the default is *open*.

    Attributes:
        hold_until: Nothing is sent before this moment while `consecutive_429s` is above 0.
        consecutive_429s: Responses with 429 since the last request that got through, those in flight at the first one
            left aside.
        probe: Identity of the request that probes, None if there is none in flight.
        probe_until: When the probe counts as lost.
        ignore_claims_until: Requests claimed at this moment or before say nothing new if they are answered with 429:
            they were in flight when the service began to throttle. None if there was no 429.
        ceiling: Requests in a window that got through, at `ceiling_since`; None if the configured limit applies.
        ceiling_since: When `ceiling` was measured, or began to grow.
        growth_per_second: Requests by which the ceiling grows each second.
        hold_length: The intended length of the last hold, in seconds, unaffected by changes of clocks.
    """

    hold_until: float = 0.0
    consecutive_429s: int = 0
    probe: int | None = None
    probe_until: float = 0.0
    ignore_claims_until: float | None = None
    ceiling: float | None = None
    ceiling_since: float = 0.0
    growth_per_second: float = 0.0
    hold_length: float = 0.0

    def effective_limit(self, configured_limit: int, now: float) -> int:
        """Return how many requests a window may hold: the ceiling, at most the configured limit, at least 1."""
        if self.ceiling is None:
            return configured_limit
        return max(1, min(configured_limit, math.floor(self._grown_ceiling(now) + _ROUNDING)))

    def grows_in(self, configured_limit: int, now: float) -> float:
        """Return the seconds until the effective limit rises, infinity if it does not."""
        limit = self.effective_limit(configured_limit, now)
        if self.ceiling is None or limit >= configured_limit:
            return math.inf
        return max(0.0, (limit + 1 - self._grown_ceiling(now)) / self.growth_per_second)

    def ceiling_now(self, configured_limit: int, now: float) -> Ceiling | None:
        """Return what the service lets through at the moment, None if the configured limit applies."""
        if self.ceiling is None or self._grown_ceiling(now) >= configured_limit:
            return None
        return Ceiling(self._grown_ceiling(now), self.growth_per_second)

    def is_over(self, configured_limit: int, now: float) -> bool:
        """Return whether the service lets through all that this limit allows, so that the state can be dropped."""
        return self.consecutive_429s == 0 and (self.ceiling is None or self._grown_ceiling(now) >= configured_limit)

    def blocked_for(self, now: float) -> float:
        """Return the seconds for which nothing may be sent; 0.0 if a request, or a probe, may go."""
        if self.consecutive_429s == 0:
            return 0.0
        probe_until = self.probe_until if self.probe is not None else now
        return max(0.0, self.hold_until - now, probe_until - now)

    def with_probe(self, identity: int, until: float) -> ThrottleState:
        """Return the state after a probe was sent, which counts as lost at `until`."""
        return replace(self, probe=identity, probe_until=until)

    def after_429(
        self,
        identity: int,
        *,
        claimed_at: float,
        now: float,
        got_through: int,
        configured_limit: int,
        retry_after: RetryAfter,
    ) -> ThrottleState:
        """Return the state after a request was answered with 429.

        Args:
            identity: Identity of the request.
            claimed_at: When its permit was claimed.
            now: The present.
            got_through: Requests that were answered otherwise in the latest period.
            configured_limit: Requests that the limit allows in a period.
            retry_after: What the response says about when to come back.
        """
        is_probe = identity == self.probe
        if not is_probe and self.ignore_claims_until is not None and claimed_at <= self.ignore_claims_until:
            return self
        consecutive_429s = self.consecutive_429s + 1
        ceiling: float = self.effective_limit(configured_limit, now)
        if consecutive_429s == 1:
            ceiling = max(1, min(ceiling, got_through))
        pause = retry_after.pause(consecutive_429s)
        return ThrottleState(
            hold_until=now + pause,
            hold_length=pause,
            consecutive_429s=consecutive_429s,
            ignore_claims_until=now,
            ceiling=ceiling,
            ceiling_since=now,
            growth_per_second=configured_limit / GROWTH_PERIODS / retry_after.period,
        )

    def after_release(
        self, identity: int, *, answered: bool, sent: bool, claimed_at: float, now: float
    ) -> ThrottleState:
        """Return the state after a request ended without a 429; only the end of a probe changes it.

        Args:
            identity: Identity of the request.
            answered: Whether a response arrived.
            sent: Whether the request may have reached the service.
            claimed_at: When its permit was claimed.
            now: The present.
        """
        if identity != self.probe:
            return self
        if answered:
            return replace(self, consecutive_429s=0, probe=None, ignore_claims_until=claimed_at, ceiling_since=now)
        hold_until = now + AFTER_LOST_PROBE if sent else self.hold_until
        return replace(self, probe=None, hold_until=hold_until)

    def clamped(self, now: float, longest_request: float) -> ThrottleState:
        """Return the state with no moment further ahead than it can be: another machine's clock may have been wrong."""
        return replace(
            self,
            hold_until=min(self.hold_until, now + max(self.hold_length, AFTER_LOST_PROBE)),
            probe_until=min(self.probe_until, now + longest_request),
            ceiling_since=min(self.ceiling_since, now),
        )

    def shifted(self, seconds: float) -> ThrottleState:
        """Return the state for a clock that shows `seconds` more."""
        ignore_claims_until = self.ignore_claims_until
        return replace(
            self,
            hold_until=self.hold_until + seconds,
            probe_until=self.probe_until + seconds,
            ignore_claims_until=None if ignore_claims_until is None else ignore_claims_until + seconds,
            ceiling_since=self.ceiling_since + seconds,
        )

    def _grown_ceiling(self, now: float) -> float:
        ceiling = self.ceiling or 0.0
        # It does not grow while the service throttles.
        elapsed = max(0.0, now - self.ceiling_since) if self.consecutive_429s == 0 else 0.0
        return ceiling + elapsed * self.growth_per_second
