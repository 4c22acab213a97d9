"""How long to hold after a 429: pure rules, with the time and the randomness passed in."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

_FIRST_BACKOFF = 2.0
# The service counts in windows aligned to the epoch; a moment later than the edge is surely in the next one.
_PAST_THE_EDGE = 0.25


def pause_after_refusal(
    *, retry_after: str | None, date: str | None, wall: float, period: float, refusals: int, uniform: float
) -> float:
    """Seconds to send nothing after the `refusals`-th refusal in a row, never more than `period`.

    `retry_after` in either of its forms (RFC 9110, 10.2.3) is followed as far as it makes sense. Without it:
    until the next edge of an epoch-aligned window by the service's clock (`date`), or a backoff that doubles,
    whichever is sooner. `wall` is our clock in seconds since the epoch, `uniform` random from 0 to 1.
    """
    told = _told(retry_after, date, wall)
    if told is not None:
        return min(max(told, _PAST_THE_EDGE), period) + uniform * _PAST_THE_EDGE
    theirs = _seconds(date)
    edge = period - (wall if theirs is None else theirs) % period + _PAST_THE_EDGE
    backoff = _FIRST_BACKOFF * 2.0 ** min(refusals - 1, 30) * (0.5 + uniform / 2)
    return min(edge, backoff, period)


def _told(retry_after: str | None, date: str | None, wall: float) -> float | None:
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text, re.ASCII):
        return float(text)
    until = _seconds(text)
    if until is None:
        return None
    theirs = _seconds(date)
    return until - (wall if theirs is None else theirs)


def _seconds(date: str | None) -> float | None:
    """An HTTP date in seconds since the epoch, None where it is none."""
    if date is None:
        return None
    try:
        moment = parsedate_to_datetime(date)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
