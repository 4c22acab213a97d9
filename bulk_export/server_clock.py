"""Times that the service states: its clock in `Date`, and when to come back in `Retry-After`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


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
