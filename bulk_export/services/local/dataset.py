"""The pages of one endpoint of the local service: which records a query selects, and in which order."""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.services.local.changing_records import ChangingRecords
from bulk_export.services.local.query import Query
from bulk_export.services.local.records import partner_name
from bulk_export.services.local.rendering import Renderer
from bulk_export.services.local.timeline import TIE_SIZE

_CACHED_BYTES = 64 * 1024 * 1024
# Sorts that are the order of creation.
_BY_CREATION = ((), (("created_at", False),), (("created_at", False), ("id", False)))


class Dataset:
    """Answers the queries of one endpoint from its records. Rendered pages are cached until a record changes.

    Args:
        endpoint: The endpoint.
        records: Its records.
        seed: Decides the order of tied records.
        settles_after: The number of requests after which they come in one order; None for never.
    """

    def __init__(
        self, endpoint: Endpoint, records: ChangingRecords, seed: int, settles_after: int | None = None
    ) -> None:
        self._settles_after = settles_after
        self._endpoint = endpoint
        self._records = records
        self._renderer = Renderer(endpoint)
        self._seed = seed
        self._requests = 0
        self._last_match: tuple[object, Sequence[int]] | None = None
        self._pages: OrderedDict[object, bytes] = OrderedDict()
        self._pages_generation = records.generation
        self._cached_bytes = 0

    @property
    def media_type(self) -> str:
        """The media type of the pages."""
        return self._renderer.media_type

    def rendered_records(self) -> Iterator[Any]:
        """Iterate over the records as they are sent, as JSON values, by creation time and id."""
        return (self._renderer.render(json.loads(self._records.json(number))) for number in self._records.numbers)

    def page(self, query: Query) -> bytes:
        """Return the body of a page. In an order with ties, each request has the tied records in another order.

        They settle after some requests, if the service does.
        """
        self._requests += 1
        numbers = self._matching(query)
        first = query.first
        last = min(first + query.page_size, len(numbers))
        is_own_order = not query.sort and self._endpoint.sort is None
        is_total = self._endpoint.order_is_total or self._endpoint.order == ("created_at", "id")
        is_settled = self._settles_after is not None and self._requests > self._settles_after
        if is_settled or any(name == "id" for name, _ in query.sort) or (is_own_order and is_total):
            return self._cached_page(query, numbers[first:last])
        return self._render(self._with_ties_shuffled(numbers, query, first, last))

    def _render(self, numbers: Sequence[int]) -> bytes:
        return self._renderer.body(map(self._records.json, numbers))

    def _cached_page(self, query: Query, numbers: Sequence[int]) -> bytes:
        if self._pages_generation != self._records.generation:
            self._pages.clear()
            self._cached_bytes = 0
            self._pages_generation = self._records.generation
        body = self._pages.get(query)
        if body is not None:
            self._pages.move_to_end(query)
            return body
        body = self._render(numbers)
        self._pages[query] = body
        self._cached_bytes += len(body)
        while self._cached_bytes > _CACHED_BYTES:
            _, dropped = self._pages.popitem(last=False)
            self._cached_bytes -= len(dropped)
        return body

    def _matching(self, query: Query) -> Sequence[int]:
        if query.since is None and not query.filters and query.sort in _BY_CREATION:
            return self._records.numbers
        index = (self._records.generation, query.since, query.filters, query.sort)
        if self._last_match is None or self._last_match[0] != index:
            numbers = [number for number in self._records.numbers if self._matches(number, query)]
            for name, descends in reversed(query.sort):
                numbers.sort(key=self._sort_key(name), reverse=descends)
            self._last_match = (index, numbers)
        return self._last_match[1]

    def _matches(self, number: int, query: Query) -> bool:
        if query.since is not None:
            moment = (
                self._records.created_at(number)
                if self._endpoint.since == "created_since"
                else self._records.updated_at(number)
            )
            if moment < query.since:
                return False
        if not query.filters:
            return True
        record = json.loads(self._records.json(number))
        return all(_has(record, key, self._accepted_values(key, value)) for key, value in query.filters)

    def _accepted_values(self, key: str, value: str) -> list[str]:
        """Return the values that a filter selects. For schools, the service ignores all cohorts but the first."""
        values = value.split(",")
        return values[:1] if key == "cohort" and self._endpoint.record_type == "school" else values

    def _sort_key(self, name: str) -> Callable[[int], Any]:
        if name == "updated_at":
            return self._records.updated_at
        if name == "id":
            return self._records.id
        if name == "created_at":
            return self._records.created_at
        return lambda number: str(json.loads(self._records.json(number))["attributes"].get(name))

    def _natural_key(self) -> Callable[[int], Any] | None:
        """Return the key of the endpoint's own order; None if that is the creation time."""
        if self._endpoint.name == "statements" and self._endpoint.order[:1] == ("payment_date",):
            return self._records.payment_date
        return partner_name if self._endpoint.name == "delivery-partners" and "name" in self._endpoint.sorts else None

    def _with_ties_shuffled(self, numbers: Sequence[int], query: Query, first: int, last: int) -> list[int]:
        """Return the numbers from `first` to `last`, with tied ones in an order that only this request has."""
        own_key = self._natural_key() if not query.sort else self._sort_key(query.sort[0][0])
        key = own_key or self._records.created_at
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
