"""How many requests the lists take: what is to be fetched from each endpoint. Limits and time are not its matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bulk_export.core.model import Endpoint


@dataclass(frozen=True, slots=True)
class EndpointLoad:
    """The records to fetch from one endpoint, and how.

    Attributes:
        records: The number of records.
        page_size: How many of them come in one response; None for all.
        sweep_again: The page size of further sweeps that prove that nothing was missed; None for no such sweeps.
        asks_twice: Whether a single response with everything has to be confirmed by another one.
        sample_pages: How many pages a sample has at most; None for no sample. It does not look for the end.
    """

    records: int
    page_size: int | None
    sweep_again: int | None = None
    asks_twice: bool = True
    sample_pages: int | None = None

    @property
    def requests(self) -> int:
        """The number of requests that it takes if nothing changes."""
        if self.sample_pages is not None and self.page_size is not None:
            return min(self.sample_pages, least_requests(self.records, self.page_size))
        if self.page_size is None:
            return 1 if self.sweep_again is None else 2
        first = least_requests(self.records, self.page_size)
        if self.sweep_again is None or (self.records < self.page_size and not self.asks_twice):
            return first
        return first + further_sweeps(self.records, self.page_size, self.sweep_again)

    @property
    def search(self) -> int:
        """The largest number of further requests to find the end."""
        return (
            0 if self.page_size is None or self.sample_pages is not None else most_search(self.records, self.page_size)
        )


def full_load(
    endpoints: Iterable[Endpoint], records: Mapping[str, int], page_size: int, *, consistent: bool
) -> dict[str, EndpointLoad]:
    """Return what an export fetches, by endpoint.

    Args:
        endpoints: The endpoints of the export.
        records: The number of records of each endpoint, by name; 0 if it is not named.
        page_size: The number of records to request per page.
        consistent: Whether each endpoint is swept again (`--consistent`).
    """
    return {
        endpoint.name: _load(endpoint, records.get(endpoint.name, 0), page_size, consistent=consistent)
        for endpoint in endpoints
    }


def poll_load(
    endpoints: Iterable[Endpoint], records: Mapping[str, int], changed: Mapping[str, int], page_sizes: tuple[int, int]
) -> dict[str, EndpointLoad]:
    """Return what a poll of `sync` fetches, by endpoint.

    Args:
        endpoints: The endpoints that are polled.
        records: The number of records of each endpoint.
        changed: How many of them change between two polls. Two polls see each change, since each asks for the changes
            of two intervals.
        page_sizes: The page sizes for endpoints that have to be read in full, and for those with a filter for changes.
    """
    full_size, changes_size = page_sizes
    return {
        endpoint.name: replace(
            _load(endpoint, 2 * changed.get(endpoint.name, 0), changes_size, consistent=True), asks_twice=False
        )
        if endpoint.since
        else _load(endpoint, records.get(endpoint.name, 0), full_size, consistent=True)
        for endpoint in endpoints
    }


def _load(endpoint: Endpoint, records: int, page_size: int, *, consistent: bool) -> EndpointLoad:
    if endpoint.paging.style == "none":
        return EndpointLoad(records, None, 1 if consistent else None)
    return EndpointLoad(records, page_size, (endpoint.paging.largest or page_size) if consistent else None)


def least_requests(records: int, page_size: int) -> int:
    """Return the number of pages that hold records, plus an empty one if the last of them is full.

    >>> [least_requests(records, 300) for records in (299, 300)]
    [1, 2]
    """
    return records // page_size + 1


def further_sweeps(records: int, page_size: int, largest_page: int) -> int:
    """Return how many requests a consistent export adds if nothing changes.

    It sweeps twice with the largest page, or once if that sweep sees everything in a single response or only has to
    confirm a first sweep of one page.
    """
    once = least_requests(records, largest_page)
    return once if records < largest_page or records <= page_size else 2 * once


def most_search(records: int, page_size: int) -> int:
    """Return how many requests finding the end may take beyond `least_requests`, at most.

    It is 1 + log2 of the number of pages, none for a single page, plus one while it is not known how the service pages.
    """
    pages = math.ceil(records / page_size)
    return 1 if pages <= 1 else 2 + math.floor(math.log2(pages))
