"""What an export would cost under the limits, on virtual time: nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bulk_export.budget.window import SlidingWindow
from bulk_export.model import Limit


@dataclass(frozen=True, slots=True)
class WindowCost:
    """One limit: `filled_at` is when it is first used up, in seconds from the start, None where it never is."""

    name: str
    limit: Limit
    requests: int
    filled_at: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests by endpoint, the most that finding the ends may add, and how long all of them take in seconds."""

    requests: Mapping[str, int]
    search: int
    seconds: float
    windows: tuple[WindowCost, ...]

    @property
    def total(self) -> int:
        """All requests, without the search for the ends."""
        return sum(self.requests.values())


def least_requests(records: int, page_size: int) -> int:
    """Pages that hold records, and an empty one where the last is exactly full."""
    return records // page_size + 1


def most_search(records: int, page_size: int) -> int:
    """The most requests that finding the end may cost beyond that: 1 + log2 of the pages, none for one page."""
    pages = math.ceil(records / page_size)
    return 0 if pages <= 1 else 1 + math.floor(math.log2(pages))


def estimate(
    records: Mapping[str, int],
    *,
    page_size: int,
    service_limit: Limit,
    ip_limit: Limit,
    sources: int,
    min_interval: float,
    latency: float,
    workers: int,
) -> Cost:
    """Play through the requests for so many records, each answered after `latency` seconds, under the real windows."""
    requests = {name: least_requests(count, page_size) for name, count in records.items()}
    service = SlidingWindow(service_limit)
    addresses = [SlidingWindow(ip_limit) for _ in range(sources)]
    spent = [0] * sources
    filled: dict[int, float] = {}
    in_flight: list[tuple[float, int]] = []
    now = 0.0
    last_sent = -math.inf
    finished = 0.0
    for _ in range(sum(requests.values())):
        while True:
            while in_flight and in_flight[0][0] <= now:
                answered_at, index = in_flight.pop(0)
                service.answered(answered_at)
                addresses[index].answered(answered_at)
            index = min(range(sources), key=lambda one: addresses[one].next_free(now))
            at = max(service.next_free(now), addresses[index].next_free(now), last_sent + min_interval)
            if len(in_flight) >= workers or math.isinf(at):
                at = max(now, in_flight[0][0])
            if at <= now:
                break
            now = min(at, in_flight[0][0]) if in_flight and in_flight[0][0] > now else at
        service.take()
        addresses[index].take()
        spent[index] += 1
        for position, window in ((-1, service), (index, addresses[index])):
            if window.used(now) >= window.limit.requests:
                filled.setdefault(position, now)
        in_flight.append((now + latency, index))
        last_sent, finished = now, now + latency
    names = ["service", *(f"address {number}" for number in range(1, sources + 1))]
    windows = [service, *addresses]
    counts = [sum(spent), *spent]
    return Cost(
        requests=requests,
        search=sum(most_search(count, page_size) for count in records.values()),
        seconds=finished,
        windows=tuple(
            WindowCost(name, window.limit, count, filled.get(position))
            for position, (name, window, count) in enumerate(zip(names, windows, counts, strict=True), start=-1)
        ),
    )
