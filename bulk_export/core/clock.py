"""What the service says of time: its clock in `Date`, how far that is believed, and when to come back.

One header proves nothing: a gateway may show any time, and our own clock may be wrong. A start that is noted too early
costs requests, one that is noted too late costs changes. So a clock ahead of ours is followed by `TOLERANCE` seconds at
most, one behind ours by up to a day, and further only where several answers agree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Seconds by which two clocks may differ without a word.
TOLERANCE = 300.0
# Answers of one run whose times are kept, and how many have to agree.
MOST_READINGS, ENOUGH = 9, 3
_DAY = 86_400.0
# Beyond this a number of seconds is no difference between two clocks that anyone has: 100 years.
_FURTHEST = 36_525 * _DAY
# How the manifest writes a moment: UTC, whole seconds.
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


def server_time(date: str | None) -> datetime | None:
    """The instant in a `Date` header, None where there is none that can be read. It has whole seconds, cut off."""
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def seconds_ahead(date: str | None, now: datetime) -> float | None:
    """By how much at least the service's clock is ahead of one that showed `now` when the answer was there.

    Below the truth by what was cut off and by the way back of the answer, so that times derived from it are early.
    """
    shown = server_time(date)
    return None if shown is None else round((shown - now).total_seconds(), 3)


def announced_wait(retry_after: str | None, *, date: str | None, wall: float) -> float | None:
    """Seconds that a `Retry-After` asks to wait, in either of its forms (RFC 9110, 10.2.3); None for anything else.

    `wall` is our clock, in seconds since the epoch. A date is read by it and by the service's own `date`, of which
    one may be far off: the shorter wait counts. It is 0.0 for a date that has passed.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    until, theirs = server_time(text), server_time(date)
    if until is None:
        return None
    clocks = [wall] if theirs is None else [wall, theirs.timestamp()]
    return min((until.timestamp() - now for now in clocks if until.timestamp() >= now), default=0.0)


def agreed(readings: Sequence[float]) -> tuple[float | None, int]:
    """The difference that most answers of a run tell, and how many do; the lowest of those that agree.

    Answers agree when their differences lie within the tolerance. None where no answer told the time.
    """
    known = sorted(reading for reading in readings if math.isfinite(reading))
    best: tuple[float | None, int] = (None, 0)
    for first, lowest in enumerate(known):
        count = sum(1 for reading in known[first:] if reading - lowest <= TOLERANCE)
        if count > best[1]:
            best = (lowest, count)
    return best


def believed(ahead: float | None, answers: int, before: float) -> float:
    """By how many seconds the service's clock is taken to be ahead of ours, below zero where it is behind.

    `answers` told `ahead`; `before` is what was believed until now, which holds where nothing is told, or nothing that
    is believed.
    """
    if ahead is None or not math.isfinite(ahead) or abs(ahead) > _FURTHEST:
        return before
    if ahead > TOLERANCE:
        # Nobody knows which of both is right: by our own clock the next poll asks from further back.
        return min(before, 0.0)
    if ahead < -_DAY and answers < ENOUGH and abs(ahead - before) > TOLERANCE:
        return before
    return ahead


def bounded(ahead: float) -> float:
    """A difference as it was kept, or none where it is none that can be believed."""
    return ahead if math.isfinite(ahead) and -_FURTHEST <= ahead <= TOLERANCE else 0.0


def now() -> str:
    """The present moment as the manifest writes it: UTC, whole seconds."""
    return datetime.now(UTC).strftime(MOMENT)
