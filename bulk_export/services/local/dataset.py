"""What one endpoint holds, and in which order a request sees it."""

from __future__ import annotations

import json
import random
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.services.local.query import Query
from bulk_export.services.local.records import TIE, RecordFactory, partner_name, payment_date
from bulk_export.services.local.rendering import Renderer

_CACHED_BYTES = 64 * 1024 * 1024
# Sorts that the records stand in by themselves.
_BY_CREATION = ((), (("created_at", False),), (("created_at", False), ("id", False)))


class Dataset:
    """The records of an endpoint by number, in order of creation; it changes when told to.

    Memory is taken by changes only: while nothing vanished, the numbers are a range.
    """

    def __init__(self, endpoint: Endpoint, factory: RecordFactory, records: int, seed: int) -> None:
        self._endpoint = endpoint
        self.presentation = Renderer(endpoint)
        self._factory = factory
        self._numbers: Sequence[int] = range(records)
        self._next = records
        self._touched: dict[int, tuple[int, float]] = {}
        self._created: dict[int, int] = {}
        self._seed = seed
        self._requests = 0
        self._generation = 0
        self._selected: tuple[object, Sequence[int]] | None = None
        self._pages: OrderedDict[object, bytes] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def records(self) -> Iterator[Any]:
        """Every record as it is sent, in JSON values, by creation time and id."""
        return (self.presentation.shown(json.loads(self._render(number))) for number in self._numbers)

    def page(self, query: Query) -> bytes:
        """The body of a page. Ties of an order that is not total stand differently in each request."""
        self._requests += 1
        numbers = self._matching(query)
        first = query.first
        last = min(first + query.page_size, len(numbers))
        unsorted = not query.sort and self._endpoint.sort is None
        total = self._endpoint.order_is_total or self._endpoint.order == ("created_at", "id")
        stable = any(name == "id" for name, _ in query.sort) or (unsorted and total)
        if not stable:
            return self._join(self._with_ties_shuffled(numbers, query, first, last))
        index = (self._generation, query)
        body = self._pages.get(index)
        if body is None:
            body = self._join(numbers[first:last])
            self._keep(index, body)
        else:
            self._pages.move_to_end(index)
        return body

    def append(self, count: int, now: float) -> None:
        """Create records, `now` in seconds since the epoch; they are the newest."""
        self._own()
        newest = self._created_at(self._next - 1) if self._next else 0
        self._created.update(dict.fromkeys(range(self._next, self._next + count), max(int(now), newest)))
        self._numbers.extend(range(self._next, self._next + count))  # type: ignore[attr-defined]  # an array by now
        self._next += count
        self._changed()

    def remove(self, position: int) -> str:
        """Take away the record at a position in order of creation; its id."""
        self._own()
        number = self._numbers.pop(position)  # type: ignore[attr-defined]  # an array by now
        self._changed()
        return self._factory.id(number)

    def touch(self, position: int, now: float) -> str:
        """Change the record at a position, `now` in seconds since the epoch; its id."""
        number = self._numbers[position]
        self._touched[number] = (self._touched.get(number, (0, 0.0))[0] + 1, now)
        self._changed()
        return self._factory.id(number)

    def _own(self) -> None:
        if isinstance(self._numbers, range):
            self._numbers = array("L", self._numbers)

    def _changed(self) -> None:
        self._generation += 1
        self._pages.clear()
        self._cached_bytes = 0

    def _render(self, number: int) -> str:
        version, _ = self._touched.get(number, (0, None))
        return self._factory.record(number, version, self._created_at(number), self._updated_at(number))

    def _created_at(self, number: int) -> int:
        return self._created.get(number) or self._factory.created_at(number)

    def _updated_at(self, number: int) -> int:
        if number in self._touched:
            return int(self._touched[number][1])
        return self._created.get(number) or self._factory.updated_at(number)

    def _join(self, numbers: Sequence[int]) -> bytes:
        return self.presentation.body(map(self._render, numbers))

    def _keep(self, index: object, body: bytes) -> None:
        self._pages[index] = body
        self._cached_bytes += len(body)
        while self._cached_bytes > _CACHED_BYTES:
            _, dropped = self._pages.popitem(last=False)
            self._cached_bytes -= len(dropped)

    def _matching(self, query: Query) -> Sequence[int]:
        if query.since is None and not query.filters and query.sort in _BY_CREATION:
            return self._numbers
        index = (self._generation, query.since, query.filters, query.sort)
        if self._selected is None or self._selected[0] != index:
            numbers = [number for number in self._numbers if self._matches(number, query)]
            for name, descends in reversed(query.sort):
                numbers.sort(key=self._key(name), reverse=descends)
            self._selected = (index, numbers)
        return self._selected[1]

    def _matches(self, number: int, query: Query) -> bool:
        if query.since is not None:
            moment = self._created_at(number) if self._endpoint.since == "created_since" else self._updated_at(number)
            if moment < query.since:
                return False
        if not query.filters:
            return True
        record = json.loads(self._render(number))
        return all(_has(record, key, self._wanted(key, value)) for key, value in query.filters)

    def _wanted(self, key: str, value: str) -> list[str]:
        """The values that a filter asks for; of schools, the service heeds the first cohort only."""
        values = value.split(",")
        return values[:1] if key == "cohort" and self._endpoint.record_type == "school" else values

    def _key(self, name: str) -> Callable[[int], Any]:
        if name == "updated_at":
            return self._updated_at
        if name == "id":
            return self._factory.id
        if name == "created_at":
            return self._created_at
        return lambda number: str(json.loads(self._render(number))["attributes"].get(name))

    def _natural_key(self) -> Callable[[int], Any] | None:
        """What the endpoint orders by when no sort is asked for, where that is not the creation time."""
        if self._endpoint.name == "statements" and self._endpoint.order[:1] == ("payment_date",):
            return payment_date
        return partner_name if self._endpoint.name == "delivery-partners" and "name" in self._endpoint.sorts else None

    def _with_ties_shuffled(self, numbers: Sequence[int], query: Query, first: int, last: int) -> list[int]:
        """The rows from `first` to `last`, where numbers of one group come in an order of this request's own."""
        tied = self._natural_key() if not query.sort else self._key(query.sort[0][0])
        key = tied or self._created_at
        low, high = first, last
        while 0 < low < len(numbers) and first - low < TIE and key(numbers[low - 1]) == key(numbers[low]):
            low -= 1
        while 0 < high < len(numbers) and high - last < TIE and key(numbers[high]) == key(numbers[high - 1]):
            high += 1
        groups: dict[Any, list[int]] = {}
        for number in numbers[low:high]:
            groups.setdefault(key(number), []).append(number)
        rng = random.Random(f"{self._seed}/{self._endpoint.name}/{self._requests}")
        shuffled: list[int] = []
        for group in groups.values():
            rng.shuffle(group)
            shuffled.extend(group)
        return shuffled[first - low : last - low]


def _has(record: Any, key: str, wanted: list[str]) -> bool:
    attributes = record["attributes"]
    if key == "from_participant_id":
        return any(change["from_participant_id"] in wanted for change in attributes.get("participant_id_changes", ()))
    trainings = [*attributes.get("npq_enrolments", ()), *attributes.get("ecf_enrolments", ())]
    values = [attributes[key]] if key in attributes else [one.get(key) for one in trainings]
    return any(
        str(element) in wanted for value in values for element in (value if isinstance(value, list) else [value])
    )
