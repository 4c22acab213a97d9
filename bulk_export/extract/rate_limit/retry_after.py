"""How long to hold after a 429: pure rules, with the time and the randomness passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulk_export.core.clock import server_time

FIRST_BACKOFF = 2.0
# Seconds added to times of the service: its `Date` is truncated to whole seconds, and a window may end a moment later.
MARGIN = 0.25
# Seconds by which the service's clock may differ from ours and still say when its next window begins.
DATE_TOLERANCE = 60.0
# Seconds by which `Date` may advance differently from our clock: it is truncated, and responses take time to arrive.
_MOST_DRIFT = 2.5
# 2020, in seconds since the epoch. A clock of ours that shows an earlier time was never set.
_CLOCK_WAS_SET = 1_577_836_800.0
_LATER_BACKOFFS_FROM = 3
_LARGEST_EXPONENT = 30


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """What a response with 429 says about when to come back, in seconds.

    Attributes:
        retry_after: Wait that `Retry-After` asks for, None if it asks for none.
        window_boundary: Time to the next boundary of a window aligned to the epoch, by the service's clock; None if
            that clock is not known or not trusted.
        period: Period of the configured limit. A hold is no longer than this and a moment, unless `Retry-After` asks.
        uniform: Random number from 0 to 1, for the jitter.
        longest: Longest wait that `Retry-After` may ask for, if that is more than `period`.
    """

    retry_after: float | None
    window_boundary: float | None
    period: float
    uniform: float
    longest: float = 0.0

    @property
    def longest_retry_after(self) -> float:
        """The longest wait that `Retry-After` may ask for, in seconds."""
        return max(self.period, self.longest)

    def pause(self, consecutive_429s: int) -> float:
        """Return the seconds to send nothing after the given number of responses with 429 in a row.

        1. With `Retry-After`: that time, at most `longest_retry_after`. From the third 429 in a row it is raised to an
           exponential backoff, since the times that the service announces are then too short.
        2. Without it: an exponential backoff, or the next window boundary if that is sooner, at most a period.
        """
        if self.retry_after is not None:
            late = consecutive_429s - _LATER_BACKOFFS_FROM + 1
            least = max(MARGIN, self._backoff(late) if late > 0 else 0.0)
            return min(max(self.retry_after, least), self.longest_retry_after) + self.uniform * MARGIN
        boundary = self.period if self.window_boundary is None else self.window_boundary
        return min(boundary, self._backoff(consecutive_429s), self.period)

    def _backoff(self, attempt: int) -> float:
        return FIRST_BACKOFF * 2.0 ** min(attempt - 1, _LARGEST_EXPONENT) * (0.5 + self.uniform / 2)


class ServiceClock:
    """Decides whether the service's `Date` can be trusted, from earlier responses and from our own clock.

    One header proves nothing: it may be wrong by an hour or by 8,000 years, or always show the same time. A `Date` is
    trusted only if it is within `DATE_TOLERANCE` of our clock and has advanced since an earlier 429 as our time has.
    """

    def __init__(self) -> None:
        self._earlier: tuple[float, float] | None = None

    def trusts(self, date: str | None, *, wall: float, elapsed: float) -> bool:
        """Return whether a `Date` header can be trusted.

        Args:
            date: The header, None if there was none.
            wall: Our clock, in seconds since the epoch.
            elapsed: Seconds on a monotonic clock.
        """
        theirs = _epoch_seconds(date)
        if theirs is None:
            return False
        earlier = self._earlier or (theirs, elapsed)
        advances = abs((theirs - earlier[0]) - (elapsed - earlier[1])) <= _MOST_DRIFT
        self._earlier = earlier if advances else (theirs, elapsed)
        return advances and (wall < _CLOCK_WAS_SET or abs(theirs - wall) <= DATE_TOLERANCE)


def read_429(
    *,
    retry_after: str | None,
    date: str | None,
    wall: float,
    period: float,
    uniform: float,
    longest: float | None = None,
    trusted: bool = True,
) -> RetryAfter:
    """Read the headers of a response with 429. They may hold anything; what is not understood counts as absent.

    Args:
        retry_after: The `Retry-After` header, in either of its forms (RFC 9110, 10.2.3).
        date: The `Date` header.
        wall: Our clock, in seconds since the epoch.
        period: Period of the configured limit, in seconds.
        uniform: Random number from 0 to 1.
        longest: Longest wait in seconds that `Retry-After` may ask for, if more than a period.
        trusted: Whether `date` can be trusted, see `ServiceClock`.
    """
    theirs = _epoch_seconds(date)
    boundary = period - theirs % period + MARGIN if theirs is not None and trusted else None
    longest_wait = max(period, longest or 0.0)
    return RetryAfter(
        retry_after=_requested_wait(retry_after, wall, theirs, longest_wait, trusted=trusted),
        window_boundary=boundary,
        period=period,
        uniform=uniform,
        longest=longest_wait,
    )


def _requested_wait(
    retry_after: str | None, wall: float, theirs: float | None, longest_wait: float, *, trusted: bool
) -> float | None:
    """Return the seconds that `Retry-After` asks to wait. `theirs` is the service's time, None if it sent none.

    1. A number of seconds is taken as it is.
    2. A date is read by the service's clock if that is trusted, and by ours if the service sent no time.
    3. Otherwise one of both clocks is wrong: the date is read by the clock that makes it a possible wait, the longer
       one if both do. If it is too far ahead by either, the wait is the longest possible; otherwise it is not known.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    until = _epoch_seconds(text)
    if until is None:
        return None
    if theirs is None:
        return until - wall
    if trusted:
        return until - theirs
    waits = (until - theirs, until - wall)
    possible = [wait for wait in waits if 0 < wait <= longest_wait]
    return max(possible, default=min(waits) if min(waits) > longest_wait else None)


def _epoch_seconds(date: str | None) -> float | None:
    """Return an HTTP date in seconds since the epoch, None if it is invalid."""
    moment = server_time(date)
    return None if moment is None else moment.timestamp()
