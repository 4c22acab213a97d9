"""Daily windows in local time, such as the low-load hours agreed with the service; pure, on instants.

A window is open when a clock on the wall shows a time in it. So when the clocks go forward, a window that lies
in the hour left out does not come that day; when they go back, one that lies in the hour that comes twice opens twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bulk_export.errors import UsageError

_WINDOW = re.compile(r"(\d{2}):(\d{2})\s*-\s*(\d{2}):(\d{2})", re.ASCII)
_DAY = 24 * 60
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to, not including, `end`, in minutes after midnight; past midnight where `end` is less."""

    start: int
    end: int
    zone: ZoneInfo

    @classmethod
    def of(cls, between: str, timezone: str) -> Window:
        """A window from `01:00-05:00` and a name like `Europe/London`. Raises UsageError."""
        found = _WINDOW.fullmatch(between.strip())
        start, end = (_minutes(found[1], found[2]), _minutes(found[3], found[4])) if found else (None, None)
        if start is None or end is None or start == _DAY:
            raise UsageError(
                f"{between!r} is not a daily window.", next_step="Write --between like 01:00-05:00 or 22:00-04:00."
            )
        if start == end % _DAY:
            raise UsageError(
                f"The window {between!r} never closes or never opens.", next_step="Leave --between out to run always."
            )
        return cls(start, end % _DAY, _zone(timezone))

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)} {self.zone.key}"

    def open_at(self, instant: datetime) -> bool:
        """Whether it is open at an instant, given with any offset."""
        local = instant.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def next_opening(self, instant: datetime) -> datetime:
        """The first moment from `instant` on at which it is open, in UTC: `instant` itself if it is open then."""
        return self._first(instant, self.start, is_open=True)

    def closes_at(self, instant: datetime) -> datetime:
        """The first moment from `instant` on at which it is closed, in UTC: `instant` itself if it is closed then."""
        return self._first(instant, self.end, is_open=False)

    def _first(self, instant: datetime, boundary: int, *, is_open: bool) -> datetime:
        moment = instant.astimezone(UTC)
        while self.open_at(moment) is not is_open:
            local = moment.astimezone(self.zone)
            shown = local.replace(tzinfo=None)
            midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
            wait = (midnight + timedelta(minutes=boundary) - shown) % timedelta(days=1)
            moment = self._change_of_clocks(moment, moment + (wait or timedelta(days=1)))
        return moment

    def _change_of_clocks(self, after: datetime, until: datetime) -> datetime:
        """The first moment after `after` with another offset; `until` where it keeps to one as far as that."""
        offset = after.astimezone(self.zone).utcoffset()
        if until.astimezone(self.zone).utcoffset() == offset:
            return until
        whole = after.replace(microsecond=0)
        low, high = 0, -(-(until - whole) // _SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if (whole + middle * _SECOND).astimezone(self.zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return whole + high * _SECOND


def _minutes(hours: str, minutes: str) -> int | None:
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total <= _DAY else None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a directory of the database is an OSError
        raise UsageError(
            f"There is no time zone {name!r}.", next_step="Write --timezone like Europe/London or UTC."
        ) from None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def window_of(between: str | None, timezone: str | None) -> Window | None:
    """The window of two options that belong together, None where neither is given. Raises UsageError."""
    if (between is None) != (timezone is None):
        missing = "--timezone" if timezone is None else "--between"
        raise UsageError(
            f"{missing} is missing.", next_step="Give both, like --between 01:00-05:00 --timezone Europe/London."
        )
    return None if between is None or timezone is None else Window.of(between, timezone)
