"""The service's clock, from `Date` and `Retry-After` headers: how far it is ahead of ours, and how far that is trusted.

One header proves nothing: a gateway may send any time, and our own clock may be wrong. A start that is noted too early
costs requests, and one that is noted too late loses changes. So a clock ahead of ours is trusted by at most `TOLERANCE`
seconds, and one behind ours by up to a day, or further if several responses agree.

All differences are in seconds, above zero if the service's clock is ahead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Clocks that differ by at most this many seconds count as equal.
TOLERANCE = 300.0
# The most responses of one run whose times are kept, and how many must agree on a large difference.
MAX_READINGS, MIN_AGREEING = 9, 3
_DAY = 86_400.0
# No two clocks differ by more than 100 years; a larger number is damage.
_FURTHEST = 36_525 * _DAY
# The form of times in the manifest: UTC, whole seconds.
MANIFEST_TIME = "%Y-%m-%dT%H:%M:%SZ"


def server_time(date: str | None) -> datetime | None:
    """The instant in a `Date` header, which is truncated to seconds; None if there is no valid one."""
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def seconds_ahead(date: str | None, now: datetime) -> float | None:
    """How far the service's clock is ahead of ours, which showed `now` when the response arrived.

    A lower bound: `Date` is truncated to seconds, and the response's travel time is not subtracted. So times that are
    derived from it are early rather than late.

    Returns:
        Seconds, or None without a valid `Date` header.
    """
    service_time = server_time(date)
    return None if service_time is None else round((service_time - now).total_seconds(), 3)


def announced_wait(retry_after: str | None, *, date: str | None, wall: float) -> float | None:
    """The seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3).

    Args:
        retry_after: The header: a number of seconds, or a date.
        date: The `Date` header of the same response.
        wall: Our clock, in seconds since the epoch. A date is compared with it and with `date`; one of the two may be
            far off, so the shorter wait counts.

    Returns:
        Seconds; 0.0 for a date that has passed; None for an invalid header, or none.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    until, service_time = server_time(text), server_time(date)
    if until is None:
        return None
    clocks = [wall] if service_time is None else [wall, service_time.timestamp()]
    return min((until.timestamp() - now for now in clocks if until.timestamp() >= now), default=0.0)


def consensus(readings: Sequence[float]) -> tuple[float | None, int]:
    """The difference on which most responses of a run agree.

    Responses agree if their differences are within `TOLERANCE` seconds of one another.

    Args:
        readings: The differences by single responses.

    Returns:
        The lowest difference of the largest group that agrees, and the size of that group. None and 0 without readings.
    """
    known = sorted(reading for reading in readings if math.isfinite(reading))
    best: tuple[float | None, int] = (None, 0)
    for first, lowest in enumerate(known):
        count = sum(1 for reading in known[first:] if reading - lowest <= TOLERANCE)
        if count > best[1]:
            best = (lowest, count)
    return best


def trusted_difference(ahead: float | None, answers: int, before: float) -> float:
    """The difference to use from now on.

    Args:
        ahead: The difference by this run's responses, None if they had no valid `Date` header.
        answers: How many responses agree on it.
        before: The difference in use until now, which stays in use if `ahead` is not trusted.

    Returns:
        Seconds, at most `TOLERANCE`.
    """
    if ahead is None or not math.isfinite(ahead) or abs(ahead) > _FURTHEST:
        return before
    if ahead > TOLERANCE:
        # Either clock may be wrong. By our own, the next poll asks from an earlier time, which loses nothing.
        return min(before, 0.0)
    if ahead < -_DAY and answers < MIN_AGREEING and abs(ahead - before) > TOLERANCE:
        return before
    return ahead


def supported_difference(ahead: float | None, answers: int, kept: Sequence[float], before: float) -> float:
    """As `trusted_difference`, where readings `kept` of earlier polls support those of this one.

    Polls of one answer each agree as well as answers of one poll.
    """
    supporting = 0 if ahead is None else sum(1 for reading in kept if abs(reading - ahead) <= TOLERANCE)
    return trusted_difference(ahead, answers + supporting, before)


def kept_readings(kept: Sequence[float], ahead: float | None) -> tuple[float, ...]:
    """The readings of the last polls, one of each, after one by which the service's clock is `ahead`."""
    return tuple(kept) if ahead is None else (*kept, ahead)[-MIN_AGREEING:]


def valid_difference(ahead: float) -> float:
    """A stored difference, or 0.0 if it cannot be right."""
    return ahead if math.isfinite(ahead) and -_FURTHEST <= ahead <= TOLERANCE else 0.0


def now_text() -> str:
    """The current time as the manifest writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime(MANIFEST_TIME)
