"""The records of one endpoint while they are created, changed and removed."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import date

from bulk_export.services.local.records import RecordFactory


class ChangingRecords:
    """The records of an endpoint by number, in the order of creation.

    Only changes take memory: until a record is created or removed, the numbers are a range.

    Attributes:
        numbers: The numbers of the records.
        generation: Counts the changes.
    """

    def __init__(self, factory: RecordFactory, count: int) -> None:
        self.numbers: Sequence[int] = range(count)
        self.generation = 0
        self._factory = factory
        self._next_number = count
        # By number: the time of creation, and how often and when it was changed.
        self._created: dict[int, int] = {}
        self._touched: dict[int, tuple[int, float]] = {}

    def id(self, number: int) -> str:
        """Return the id of a record."""
        return self._factory.id(number)

    def json(self, number: int) -> str:
        """Return the JSON text of a record."""
        changes, _ = self._touched.get(number, (0, None))
        return self._factory.record(number, changes, self.created_at(number), self.updated_at(number))

    def created_at(self, number: int) -> int:
        """Return when a record was created, in seconds since the epoch."""
        return self._created.get(number) or self._factory.created_at(number)

    def updated_at(self, number: int) -> int:
        """Return when a record was last changed, in seconds since the epoch."""
        if number in self._touched:
            return int(self._touched[number][1])
        return self._created.get(number) or self._factory.updated_at(number)

    def payment_date(self, number: int) -> date:
        """Return the day of a statement, which statements are ordered by."""
        return self._factory.timeline.payment_date(number, self.created_at(number))

    def append(self, count: int, now: float) -> None:
        """Create records, the newest of all. `now` is in seconds since the epoch."""
        newest = self.created_at(self._next_number - 1) if self._next_number else 0
        created = range(self._next_number, self._next_number + count)
        self._created.update(dict.fromkeys(created, max(int(now), newest)))
        self._mutable_numbers().extend(created)
        self._next_number += count
        self.generation += 1

    def remove(self, position: int) -> str:
        """Remove the record at a position in the order of creation. Return its id."""
        number = self._mutable_numbers().pop(position)
        self.generation += 1
        return self.id(number)

    def touch(self, position: int, now: float) -> str:
        """Change the record at a position in the order of creation at the time `now`. Return its id."""
        number = self.numbers[position]
        self._touched[number] = (self._touched.get(number, (0, 0.0))[0] + 1, now)
        self.generation += 1
        return self.id(number)

    def _mutable_numbers(self) -> array[int]:
        if not isinstance(self.numbers, array):
            self.numbers = array("L", self.numbers)
        return self.numbers
