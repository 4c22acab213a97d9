"""What an export would cost under the limits, on virtual time: nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bulk_export.model import Limit
from bulk_export.schedule import schedule


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


def further_sweeps(records: int, page_size: int, largest_page: int) -> int:
    """What a consistent export adds while nothing changes: two sweeps with the largest page, one if it holds all, and
    none where a single page of the first sweep did."""
    if records < page_size:
        return 0
    once = least_requests(records, largest_page)
    return once if records < largest_page else 2 * once


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
    largest_page: int | None = None,
) -> Cost:
    """Play through the requests for so many records, each answered after `latency` seconds.

    With `largest_page`, the further sweeps of a consistent export are among them.
    """
    requests = {name: least_requests(count, page_size) for name, count in records.items()}
    if largest_page is not None:
        requests = {
            name: sent + further_sweeps(records[name], page_size, largest_page) for name, sent in requests.items()
        }
    played = schedule(
        sum(requests.values()),
        service_limit=service_limit,
        address_limit=ip_limit,
        addresses=sources,
        min_interval=min_interval,
        latency=latency,
        workers=workers,
    )
    return Cost(
        requests=requests,
        search=sum(most_search(count, page_size) for count in records.values()),
        seconds=played.finished,
        windows=tuple(
            WindowCost(
                "service" if window.address is None else f"address {window.address}",
                window.limit,
                window.requests,
                window.filled_at,
            )
            for window in played.windows
        ),
    )
