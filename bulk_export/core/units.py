"""Parse limits, durations, percentages and times as users write them, and format them.

Each parse function raises UsageError with an example of a valid text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from bulk_export.core.model import Limit
from bulk_export.errors import UsageError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Nine digits are enough for anyone, and cannot overflow.
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_DURATION = re.compile(rf"({_NUMBER})(ms|s|m|h|d)?", re.ASCII)
_REQUESTS = re.compile(r"\d{1,9}", re.ASCII)
_SHARE = re.compile(rf"({_NUMBER})\s*(%?)", re.ASCII)


def parse_duration(text: str, what: str = "a time") -> float:
    """Parse a duration: `300`, `300s`, `5m`, `500ms`, `1h` or `7d`.

    Args:
        text: The duration.
        what: What the message calls it, with an article.

    Returns:
        Seconds.

    >>> parse_duration("5m")
    300.0
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not {what}.", next_step="Write it like 500ms, 90s, 15m, 1h or 7d.")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def parse_limit(text: str) -> Limit:
    """Parse a limit `N/PERIOD` with both parts above zero, like `1000/5m`."""
    requests, slash, period = text.partition("/")
    if not slash or not _REQUESTS.fullmatch(requests.strip()) or not _DURATION.fullmatch(period.strip()):
        raise UsageError(f"{text!r} is not a limit.", next_step="Write it as N/PERIOD, like 1000/5m or 40/10s.")
    limit = Limit(int(requests), parse_duration(period))
    if limit.requests < 1 or limit.period <= 0:
        raise UsageError(
            f"{text!r} allows no request at all.", next_step="Both parts of N/PERIOD must be above zero, like 300/5m."
        )
    return limit


def seconds_of(given: str | float | timedelta, what: str) -> float:
    """Seconds from a text as for `parse_duration`, from a number of them, or from what Python has for durations."""
    if isinstance(given, timedelta):
        return given.total_seconds()
    return parse_duration(given, what) if isinstance(given, str) else float(given)


def parse_interval(given: str | float | timedelta) -> float:
    """Parse the least time between two requests, from 0 to an hour; seconds."""
    seconds = seconds_of(given, "an interval")
    if not 0 <= seconds <= 3600:
        raise UsageError("--min-interval must be from 0 to an hour.", next_step="Write it like 100ms, or 0 for none.")
    return seconds


def parse_wait(given: str | float | timedelta) -> float:
    """Parse the longest announced wait to accept, from 0 to a week; seconds."""
    seconds = seconds_of(given, "a time for --max-wait")
    if not 0 <= seconds <= 7 * 86400:
        raise UsageError("--max-wait must be from 0 to 7 days.", next_step="Write it like 15m or 2h.")
    return seconds


def format_duration(seconds: float) -> str:
    """Format seconds as `7 s`, `15 min`, `4 min 5 s` or `2 h 3 min`, rounded up."""
    total = max(0, math.ceil(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        minutes, rest = divmod(total, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(math.ceil(total / 60), 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def parse_word(option: str, given: str, words: Sequence[str]) -> str:
    """Check that an option was given one of the words that it takes, and return it."""
    if given not in words:
        raise UsageError(f"{option} does not take {given!r}.", next_step=f"Choose from: {', '.join(words)}.")
    return given


def parse_share(text: str) -> float:
    """Parse a percentage: `50%` or `50`. Below 1 the sign is required, since `0.5` may mean a half.

    Returns:
        A fraction above 0 and at most 1.

    >>> parse_share("50%")
    0.5
    """
    match = _SHARE.fullmatch(text.strip())
    percentage = float(match[1]) if match else 0.0
    if match is None or not 0 < percentage <= 100 or (percentage < 1 and not match[2]):
        raise UsageError(f"{text!r} is not a share.", next_step="Write a percentage from 1% to 100%, like 50%.")
    return percentage / 100


def parse_instant(text: str) -> datetime:
    """Parse a date or time in ISO 8601, with any offset or none, which means UTC.

    Returns:
        An aware instant in UTC; for a date, its first moment in UTC.
    """
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time.",
            next_step="Write it in ISO 8601, like 2025-09-01T00:00:00Z or 2025-09-01T01:00:00+01:00.",
        ) from None
    return in_utc(instant)


def in_utc(moment: datetime | date) -> datetime:
    """Convert a date or time to UTC.

    Args:
        moment: A time without an offset is in UTC already; a date stands for its first moment.

    Raises:
        UsageError: In UTC it is not within the years 1 to 9999.
    """
    instant = moment if isinstance(moment, datetime) else datetime.combine(moment, time())
    try:
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except OverflowError:
        raise UsageError(
            f"{instant.isoformat()} is out of range.", next_step="Write a time between the years 1 and 9999."
        ) from None


def format_instant(instant: datetime) -> str:
    """Format an instant by RFC 3339 in UTC with `Z`, with microseconds if it has any.

    The service decodes query values twice, which would turn the `+` of an offset into a space.
    """
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
