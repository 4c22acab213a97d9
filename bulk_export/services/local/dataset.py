"""The records of one endpoint of the local service, and their order in a response."""

from __future__ import annotations

import json
import random
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.services.local.query import Query
from bulk_export.services.local.records import TIE_SIZE, RecordFactory, partner_name, payment_date
from bulk_export.services.local.rendering import Renderer

_CACHED_BYTES = 64 * 1024 * 1024
# Sorts that are the order of creation.
_BY_CREATION = ((), (("created_at", False),), (("created_at", False), ("id", False)))


class Dataset:
    """The records of an endpoint by number, in order of creation.

    Only changes take memory: as long as none was made, the numbers are a range.
    """

    def __init__(self, endpoint: Endpoint, factory: RecordFactory, records: int, seed: int) -> None:
        self._endpoint = endpoint
        self.renderer = Renderer(endpoint)
        self._factory = factory
        self._numbers: Sequence[int] = range(records)
        self._next = records
        self._touched: dict[int, tuple[int, float]] = {}
        self._created: dict[int, int] = {}
        self._seed = seed
        self._requests = 0
        self._generation = 0
        self._matching_numbers: tuple[object, Sequence[int]] | None = None
        self._pages: OrderedDict[object, bytes] = OrderedDict()
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def records(self) -> Iterator[Any]:
        """Iterate over the records as they are sent, as JSON values, by creation time and id."""
        return (self.renderer.render(json.loads(self._json(number))) for number in self._numbers)

    def page(self, query: Query) -> bytes:
        """Return the body of a page. In an order with ties, each request has the tied records in another order."""
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
            self._cache(index, body)
        else:
            self._pages.move_to_end(index)
        return body

    def append(self, count: int, now: float) -> None:
        """Create records, the newest of all. `now` is in seconds since the epoch."""
        self._make_mutable()
        newest = self._created_at(self._next - 1) if self._next else 0
        self._created.update(dict.fromkeys(range(self._next, self._next + count), max(int(now), newest)))
        self._numbers.extend(range(self._next, self._next + count))  # type: ignore[attr-defined]  # an array after _make_mutable
        self._next += count
        self._invalidate()

    def remove(self, position: int) -> str:
        """Remove the record at a position in the order of creation. Return its id."""
        self._make_mutable()
        number = self._numbers.pop(position)  # type: ignore[attr-defined]  # an array after _make_mutable
        self._invalidate()
        return self._factory.id(number)

    def touch(self, position: int, now: float) -> str:
        """Change the record at a position in the order of creation at the time `now`. Return its id."""
        number = self._numbers[position]
        self._touched[number] = (self._touched.get(number, (0, 0.0))[0] + 1, now)
        self._invalidate()
        return self._factory.id(number)

    def _make_mutable(self) -> None:
        if isinstance(self._numbers, range):
            self._numbers = array("L", self._numbers)

    def _invalidate(self) -> None:
        self._generation += 1
        self._pages.clear()
        self._cached_bytes = 0

    def _json(self, number: int) -> str:
        version, _ = self._touched.get(number, (0, None))
        return self._factory.record(number, version, self._created_at(number), self._updated_at(number))

    def _created_at(self, number: int) -> int:
        return self._created.get(number) or self._factory.created_at(number)

    def _updated_at(self, number: int) -> int:
        if number in self._touched:
            return int(self._touched[number][1])
        return self._created.get(number) or self._factory.updated_at(number)

    def _join(self, numbers: Sequence[int]) -> bytes:
        return self.renderer.body(map(self._json, numbers))

    def _cache(self, index: object, body: bytes) -> None:
        self._pages[index] = body
        self._cached_bytes += len(body)
        while self._cached_bytes > _CACHED_BYTES:
            _, dropped = self._pages.popitem(last=False)
            self._cached_bytes -= len(dropped)

    def _matching(self, query: Query) -> Sequence[int]:
        if query.since is None and not query.filters and query.sort in _BY_CREATION:
            return self._numbers
        index = (self._generation, query.since, query.filters, query.sort)
        if self._matching_numbers is None or self._matching_numbers[0] != index:
            numbers = [number for number in self._numbers if self._matches(number, query)]
            for name, descends in reversed(query.sort):
                numbers.sort(key=self._sort_key(name), reverse=descends)
            self._matching_numbers = (index, numbers)
        return self._matching_numbers[1]

    def _matches(self, number: int, query: Query) -> bool:
        if query.since is not None:
            moment = self._created_at(number) if self._endpoint.since == "created_since" else self._updated_at(number)
            if moment < query.since:
                return False
        if not query.filters:
            return True
        record = json.loads(self._json(number))
        return all(_has(record, key, self._accepted_values(key, value)) for key, value in query.filters)

    def _accepted_values(self, key: str, value: str) -> list[str]:
        """Return the values that a filter selects. For schools, the service ignores all cohorts but the first."""
        values = value.split(",")
        return values[:1] if key == "cohort" and self._endpoint.record_type == "school" else values

    def _sort_key(self, name: str) -> Callable[[int], Any]:
        if name == "updated_at":
            return self._updated_at
        if name == "id":
            return self._factory.id
        if name == "created_at":
            return self._created_at
        return lambda number: str(json.loads(self._json(number))["attributes"].get(name))

    def _natural_key(self) -> Callable[[int], Any] | None:
        """Return the key of the endpoint's own order; None if that is the creation time."""
        if self._endpoint.name == "statements" and self._endpoint.order[:1] == ("payment_date",):
            return payment_date
        return partner_name if self._endpoint.name == "delivery-partners" and "name" in self._endpoint.sorts else None

    def _with_ties_shuffled(self, numbers: Sequence[int], query: Query, first: int, last: int) -> list[int]:
        """Return the numbers from `first` to `last`, with tied ones in an order that only this request has."""
        own_key = self._natural_key() if not query.sort else self._sort_key(query.sort[0][0])
        key = own_key or self._created_at
        low, high = first, last
        while 0 < low < len(numbers) and first - low < TIE_SIZE and key(numbers[low - 1]) == key(numbers[low]):
            low -= 1
        while 0 < high < len(numbers) and high - last < TIE_SIZE and key(numbers[high]) == key(numbers[high - 1]):
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


def _has(record: Any, key: str, accepted: list[str]) -> bool:
    attributes = record["attributes"]
    if key == "from_participant_id":
        return any(change["from_participant_id"] in accepted for change in attributes.get("participant_id_changes", ()))
    trainings = [*attributes.get("npq_enrolments", ()), *attributes.get("ecf_enrolments", ())]
    values = [attributes[key]] if key in attributes else [training.get(key) for training in trainings]
    return any(
        str(element) in accepted for value in values for element in (value if isinstance(value, list) else [value])
    )
