"""What refusals have taught about the service: when to hold, who may probe, and how much gets through.

Pure: values go in with the time, a new value comes out. Times are seconds on the clock of whoever keeps it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bulk_export.extract.rate_limit.retry_after import RetryAfter

# From what got through, back to the whole limit in ten periods without a refusal.
GROWTH_PERIODS = 10
# After a probe that brought no answer at all, before the next one.
AFTER_LOST_PROBE = 1.0


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """The state after refusals; the default is that of a service that refuses nothing.

    While `refusals` is above 0, nothing is sent before `hold_until`, and then one `probe` at a time. Its
    sender is given up at `probe_until`. Requests claimed at or before `epoch` (None: never) tell nothing new
    by being refused. `ceiling` (None: none) is the number of requests in a window that the service was seen to let
    through at `since`; it grows by `growth` requests a second. `held` is for how many seconds the last hold was meant.
    """

    hold_until: float = 0.0
    refusals: int = 0
    probe: int | None = None
    probe_until: float = 0.0
    epoch: float | None = None
    ceiling: float | None = None
    since: float = 0.0
    growth: float = 0.0
    held: float = 0.0

    def limit(self, believed: int, now: float) -> int:
        """How many requests a window may hold, of the `believed` ones."""
        if self.ceiling is None:
            return believed
        return max(1, min(believed, math.floor(self._grown(now) + 1e-9)))

    def next_growth(self, believed: int, now: float) -> float:
        """Seconds until that number rises, infinity where it does not."""
        limit = self.limit(believed, now)
        if self.ceiling is None or limit >= believed:
            return math.inf
        return max(0.0, (limit + 1 - self._grown(now)) / self.growth)

    def forgotten(self, believed: int, now: float) -> bool:
        """Whether nothing of it matters any more to somebody with this limit."""
        return self.refusals == 0 and (self.ceiling is None or self._grown(now) >= believed)

    def shut_for(self, now: float) -> float:
        """Seconds for which nothing at all may be sent; 0.0 where a request, or a probe, may go."""
        if self.refusals == 0:
            return 0.0
        probing = self.probe_until if self.probe is not None else now
        return max(0.0, self.hold_until - now, probing - now)

    def probing(self, identity: int, until: float) -> ThrottleState:
        """A probe was sent."""
        return replace(self, probe=identity, probe_until=until)

    def refused(
        self, identity: int, *, claimed_at: float, now: float, through: int, believed: int, refusal: RetryAfter
    ) -> ThrottleState:
        """A request was refused, when `through` others had got through in the same window.

        Requests that were on their way when the first one was refused change nothing.
        """
        if identity != self.probe and self.epoch is not None and claimed_at <= self.epoch:
            return self
        refusals = self.refusals + 1
        ceiling: float = self.limit(believed, now)
        if refusals == 1:
            ceiling = max(1, min(ceiling, through))
        pause = refusal.pause(refusals)
        return ThrottleState(
            hold_until=now + pause,
            held=pause,
            refusals=refusals,
            epoch=now,
            ceiling=ceiling,
            since=now,
            growth=believed / GROWTH_PERIODS / refusal.period,
        )

    def settled(self, identity: int, *, answered: bool, sent: bool, claimed_at: float, now: float) -> ThrottleState:
        """A request came to its end without being refused. A probe that was answered ends the hold."""
        if identity != self.probe:
            return self
        if answered:
            return replace(self, refusals=0, probe=None, epoch=claimed_at, since=now)
        hold_until = now + AFTER_LOST_PROBE if sent else self.hold_until
        return replace(self, probe=None, hold_until=hold_until)

    def possible(self, now: float, longest_request: float) -> ThrottleState:
        """The same with no time further ahead than it can be, whatever a clock of another machine made of it."""
        return replace(
            self,
            hold_until=min(self.hold_until, now + max(self.held, AFTER_LOST_PROBE)),
            probe_until=min(self.probe_until, now + longest_request),
            since=min(self.since, now),
        )

    def moved(self, by: float) -> ThrottleState:
        """The same on a clock that shows `by` seconds more."""
        return replace(
            self,
            hold_until=self.hold_until + by,
            probe_until=self.probe_until + by,
            epoch=None if self.epoch is None else self.epoch + by,
            since=self.since + by,
        )

    def _grown(self, now: float) -> float:
        return (self.ceiling or 0.0) + (max(0.0, now - self.since) * self.growth if self.refusals == 0 else 0.0)
