"""What an export would cost under the limits, on virtual time: nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bulk_export.core.model import Endpoint, Limit
from bulk_export.pipelines.simulation import schedule


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


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """Records of an endpoint, and how many are asked for at once, None for all.

    With `sweep_again`, further sweeps with pages of that size (where there are pages) are to prove that nothing was
    missed. Unless it `asks_twice`, a single answer with everything needs no other.
    """

    records: int
    page_size: int | None
    sweep_again: int | None = None
    asks_twice: bool = True

    @property
    def requests(self) -> int:
        """What that takes while nothing changes."""
        if self.page_size is None:
            return 1 if self.sweep_again is None else 2
        first = least_requests(self.records, self.page_size)
        if self.sweep_again is None or (self.records < self.page_size and not self.asks_twice):
            return first
        return first + further_sweeps(self.records, self.page_size, self.sweep_again)

    @property
    def search(self) -> int:
        """The most that finding the end may add."""
        return 0 if self.page_size is None else most_search(self.records, self.page_size)


def whole(
    endpoints: Iterable[Endpoint], records: Mapping[str, int], page_size: int, *, proven: bool
) -> dict[str, EndpointLoad]:
    """What an export asks for; `proven` as a consistent one does. An endpoint without a number counts as empty."""
    return {one.name: _asked(one, records.get(one.name, 0), page_size, proven=proven) for one in endpoints}


def polled(
    endpoints: Iterable[Endpoint], records: Mapping[str, int], changed: Mapping[str, int], page_sizes: tuple[int, int]
) -> dict[str, EndpointLoad]:
    """What a poll of `sync` asks for, where so many records change between two of them.

    Each change is shown to two polls, since they ask from two windows back. Endpoints that cannot be asked for
    changes are asked for everything, with the first of two page sizes.
    """
    everything, changes = page_sizes
    return {
        one.name: replace(_asked(one, 2 * changed.get(one.name, 0), changes, proven=True), asks_twice=False)
        if one.since
        else _asked(one, records.get(one.name, 0), everything, proven=True)
        for one in endpoints
    }


def _asked(endpoint: Endpoint, records: int, page_size: int, *, proven: bool) -> EndpointLoad:
    if endpoint.paging.style == "none":
        return EndpointLoad(records, None, 1 if proven else None)
    return EndpointLoad(records, page_size, (endpoint.paging.largest or page_size) if proven else None)


def least_requests(records: int, page_size: int) -> int:
    """Pages that hold records, and an empty one where the last is exactly full."""
    return records // page_size + 1


def further_sweeps(records: int, page_size: int, largest_page: int) -> int:
    """What a consistent export adds while nothing changes: two sweeps with the largest page, or one where that sees
    everything in a single answer or only has to confirm the single page of the first sweep."""
    once = least_requests(records, largest_page)
    return once if records < largest_page or records <= page_size else 2 * once


def most_search(records: int, page_size: int) -> int:
    """The most requests that finding the end may cost beyond that: 1 + log2 of the pages, none for one page, and one
    more where it is not known yet how the service pages."""
    pages = math.ceil(records / page_size)
    return 1 if pages <= 1 else 2 + math.floor(math.log2(pages))


def estimate(
    asked: Mapping[str, EndpointLoad],
    *,
    service_limit: Limit,
    ip_limit: Limit,
    sources: int,
    min_interval: float,
    latency: float,
    workers: int,
) -> Cost:
    """Play through the requests for endpoints by name, each answered after `latency` seconds."""
    requests = {name: one.requests for name, one in asked.items()}
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
        search=sum(one.search for one in asked.values()),
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
