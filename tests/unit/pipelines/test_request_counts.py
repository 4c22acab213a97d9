"""How many requests the lists take."""

from __future__ import annotations

from bulk_export.pipelines.request_counts import EndpointLoad, further_sweeps, least_requests, most_search


def test_least_requests_and_most_search() -> None:
    """Requests are the least possible, and the search for the end is bounded by the logarithm of the pages."""
    assert [least_requests(records, 300) for records in (0, 1, 299, 300, 301, 600)] == [1, 1, 1, 2, 2, 3]
    assert [most_search(records, 300) for records in (0, 300, 301, 900, 300_000)] == [1, 1, 3, 3, 11]


def test_further_sweeps() -> None:
    """A consistent export sweeps twice more, and once if one response holds all, or if the first sweep was one page."""
    assert [further_sweeps(records, 300, 3_000) for records in (0, 299, 300, 2_999, 3_000, 30_000)] == [
        1,
        1,
        1,
        1,
        4,
        22,
    ]
    assert [further_sweeps(records, 3_000, 3_000) for records in (3_000, 3_001)] == [2, 4]


def test_unpaged_lists() -> None:
    """A list that comes in one response is one request, and a second one to prove it."""
    assert (EndpointLoad(1_000_000, None).requests, EndpointLoad(1_000_000, None).search) == (1, 0)
    assert EndpointLoad(1_000_000, None, 3_000).requests == 2
    assert [EndpointLoad(records, 300, 3_000, asks_twice=False).requests for records in (299, 300)] == [1, 3]
    assert (EndpointLoad(1_000, 300, 3_000).requests, EndpointLoad(1_000, 300).search) == (5, 4)
