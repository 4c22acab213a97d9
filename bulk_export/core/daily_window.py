"""Daily windows in local time, such as the low-load hours agreed with the service. Pure functions of instants.

A window is open while local time is in it. So a window within the hour that is skipped when the clocks go forward does
not open that day, and one within the hour that is repeated when they go back opens twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bulk_export.errors import UsageError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_WINDOW = re.compile(r"(\d{2}):(\d{2})\s*-\s*(\d{2}):(\d{2})", re.ASCII)
_DAY = 24 * 60
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A window from `start` to, but not including, `end`, in minutes after midnight.

    It goes past midnight if `end` is less than `start`.
    """

    start: int
    end: int
    zone: ZoneInfo

    @classmethod
    def of(cls, between: str, timezone: str) -> Window:
        """Parse a window.

        Args:
            between: Begin and end, like `01:00-05:00`.
            timezone: A name of the time zone database, like `Europe/London`.

        Raises:
            UsageError: One of them is invalid, or the window never opens or never closes.
        """
        match = _WINDOW.fullmatch(between.strip())
        start, end = (_minutes(match[1], match[2]), _minutes(match[3], match[4])) if match else (None, None)
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
        """Whether the window is open at an aware instant."""
        local = instant.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.start < self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def next_opening(self, instant: datetime) -> datetime:
        """The first moment, in UTC, at or after an instant at which the window is open."""
        return self._first(instant, self.start, is_open=True)

    def closes_at(self, instant: datetime) -> datetime:
        """The first moment, in UTC, at or after an instant at which the window is closed."""
        return self._first(instant, self.end, is_open=False)

    def _first(self, instant: datetime, boundary: int, *, is_open: bool) -> datetime:
        # From day boundary to day boundary, and never past a change of clocks in one step.
        moment = instant.astimezone(UTC)
        while self.open_at(moment) is not is_open:
            local = moment.astimezone(self.zone)
            shown = local.replace(tzinfo=None)
            midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
            wait = (midnight + timedelta(minutes=boundary) - shown) % timedelta(days=1)
            moment = self._change_of_clocks(moment, moment + (wait or timedelta(days=1)))
        return moment

    def _change_of_clocks(self, after: datetime, until: datetime) -> datetime:
        """The moment between two others at which the UTC offset changes, by bisection; `until` if it does not."""
        offset = after.astimezone(self.zone).utcoffset()
        if until.astimezone(self.zone).utcoffset() == offset:
            return until
        second = after.replace(microsecond=0)
        low, high = 0, -(-(until - second) // _SECOND)
        while high - low > 1:
            middle = (low + high) // 2
            if (second + middle * _SECOND).astimezone(self.zone).utcoffset() == offset:
                low = middle
            else:
                high = middle
        return second + high * _SECOND


def _minutes(hours: str, minutes: str) -> int | None:
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total <= _DAY else None


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # most runs have no window

    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory of the database
        raise UsageError(
            f"There is no time zone {name!r}.", next_step="Write --timezone like Europe/London or UTC."
        ) from None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def window_of(between: str | None, timezone: str | None) -> Window | None:
    """The window of the options --between and --timezone, None if neither is given.

    Raises:
        UsageError: Only one is given, or one is invalid.
    """
    if (between is None) != (timezone is None):
        missing = "--timezone" if timezone is None else "--between"
        raise UsageError(
            f"{missing} is missing.", next_step="Give both, like --between 01:00-05:00 --timezone Europe/London."
        )
    return None if between is None or timezone is None else Window.of(between, timezone)
