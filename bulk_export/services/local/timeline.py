"""When the records of an endpoint were created and changed: within an hour in 2021, or from then up to a given day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

FIRST_COHORT = 2021
# Groups of so many records share a creation time. No usual page size is a multiple of it.
TIE_SIZE = 7
_FIRST_CREATED_AT = int(datetime(2021, 9, 1, tzinfo=UTC).timestamp())
_SECONDS_BETWEEN_TIES = 11
_FIRST_PAYMENT_DATE = date(2021, 9, 25)
_COHORTS_BEGIN = 6  # June
_MOST_SECONDS_TO_CHANGE = 5_000_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of an endpoint's initial records, as a pure function of their numbers.

    Args:
        spacing: Seconds between two groups of records.
        newest: A time that no record exceeds, in seconds since the epoch; None for records of one hour in 2021.
    """

    spacing: int = _SECONDS_BETWEEN_TIES
    newest: int | None = None

    @classmethod
    def until(cls, newest: float | None, count: int) -> Timeline:
        """Spread `count` records evenly up to a time in seconds since the epoch; None for the records of an hour."""
        if newest is None:
            return cls()
        last_group = max(1, (count - 1) // TIE_SIZE)
        return cls(max(1, (int(newest) - _FIRST_CREATED_AT) // last_group), int(newest))

    @property
    def last_cohort(self) -> int | None:
        """The latest cohort at the newest time, None without one: a cohort has the name of the year that begins it."""
        if self.newest is None:
            return None
        end = datetime.fromtimestamp(self.newest, UTC)
        return max(FIRST_COHORT + 1, end.year - (end.month < _COHORTS_BEGIN))

    def created_at(self, number: int) -> int:
        """Return when a record was created, in seconds since the epoch."""
        return _FIRST_CREATED_AT + number // TIE_SIZE * self.spacing

    def updated_at(self, number: int) -> int:
        """Return when a record was last changed, later than its creation for every third one."""
        created = self.created_at(number)
        if number % 3:
            return created
        later = number * 7919 % _MOST_SECONDS_TO_CHANGE
        return created + (later if self.newest is None else later % max(1, self.newest - created))

    def payment_date(self, number: int, created_at: int) -> date:
        """Return the day of a statement, which statements are ordered by: a few share a day."""
        if self.newest is None:
            return _FIRST_PAYMENT_DATE + timedelta(days=number // TIE_SIZE)
        return _FIRST_PAYMENT_DATE + timedelta(seconds=created_at - _FIRST_CREATED_AT)
