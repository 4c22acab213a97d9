"""How long to hold after a 429: pure rules, with the time and the randomness passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulk_export.core.clock import server_time

FIRST_BACKOFF = 2.0
# The service counts in windows aligned to the epoch; a moment later than the edge is surely in the next one.
# Told times are whole seconds, cut off; the same moment covers what was cut.
MARGIN = 0.25
# By how many seconds a clock may differ from ours and still say when the service's next window begins.
DATE_TOLERANCE = 60.0
# By how much it may go on differently from ours: it shows whole seconds, and answers travel.
_UNSTEADY = 2.5
_NEVER_SET = 1_577_836_800.0


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """What a 429 says about when to come back, in seconds.

    `told` is what its Retry-After asks for and `edge` the time to the next edge of an epoch-aligned window
    by the service's own clock, each None where nothing was said. `uniform` is random, from 0 to 1. Nothing
    makes a hold longer than `period` and a moment, except that a told time may be as long as `longest`.
    """

    told: float | None
    edge: float | None
    period: float
    uniform: float
    longest: float = 0.0

    @property
    def most_told(self) -> float:
        """The longest told time that is kept to, in seconds."""
        return max(self.period, self.longest)

    def pause(self, refusals: int) -> float:
        """Seconds to send nothing after the `refusals`-th refusal in a row.

        A told time is kept to. Without one: a backoff that doubles, or the edge where that is sooner. A
        service that tells short times but goes on refusing is believed less each time.
        """
        if self.told is not None:
            patience = self._backoff(refusals - 2) if refusals > 2 else 0.0
            return min(max(self.told, patience, MARGIN), self.most_told) + self.uniform * MARGIN
        edge = self.period if self.edge is None else self.edge
        return min(edge, self._backoff(refusals), self.period)

    def _backoff(self, times: int) -> float:
        return FIRST_BACKOFF * 2.0 ** min(times - 1, 30) * (0.5 + self.uniform / 2)


class ServiceClock:
    """Whether the time that `Date` shows can be used, as far as the answers before and our own clock tell.

    One header proves nothing: it may be off by an hour or by 8,000 years, or always show the same. A time is used
    only where it differs from our clock by at most `DATE_TOLERANCE` and went on since an earlier refusal as time did
    here.
    """

    def __init__(self) -> None:
        self._earlier: tuple[float, float] | None = None

    def trusts(self, date: str | None, *, wall: float, elapsed: float) -> bool:
        """Whether `date` can be used. `elapsed` is in seconds on a clock that nobody sets."""
        theirs = _seconds(date)
        if theirs is None:
            return False
        earlier = self._earlier or (theirs, elapsed)
        steady = abs((theirs - earlier[0]) - (elapsed - earlier[1])) <= _UNSTEADY
        self._earlier = earlier if steady else (theirs, elapsed)
        # Ours was never set where it shows a time before this program was written.
        return steady and (wall < _NEVER_SET or abs(theirs - wall) <= DATE_TOLERANCE)


def read_refusal(
    *,
    retry_after: str | None,
    date: str | None,
    wall: float,
    period: float,
    uniform: float,
    longest: float | None = None,
    trusted: bool = True,
) -> RetryAfter:
    """What the headers of a 429 say. `wall` is our clock, in seconds since the epoch.

    `Retry-After` is understood in both its forms (RFC 9110, 10.2.3); anything else counts as not said. Its date is
    read against the service's `Date` where that is `trusted`, and otherwise against whichever clock makes it a wait
    that is possible, the longer of both.
    """
    theirs = _seconds(date)
    edge = period - theirs % period + MARGIN if theirs is not None and trusted else None
    most = max(period, longest or 0.0)
    told = _told(retry_after, wall, theirs, most, trusted=trusted)
    return RetryAfter(told=told, edge=edge, period=period, uniform=uniform, longest=most)


def _told(retry_after: str | None, wall: float, theirs: float | None, most: float, *, trusted: bool) -> float | None:
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    until = _seconds(text)
    if until is None:
        return None
    if theirs is None:
        return until - wall
    if trusted:
        return until - theirs
    waits = (until - theirs, until - wall)
    possible = [wait for wait in waits if 0 < wait <= most]
    return max(possible, default=min(waits) if min(waits) > most else None)


def _seconds(date: str | None) -> float | None:
    """An HTTP date in seconds since the epoch, None where it is none."""
    moment = server_time(date)
    return None if moment is None else moment.timestamp()
