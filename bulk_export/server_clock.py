"""What the service's clock shows, by the `Date` of its answers."""

from __future__ import annotations

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
