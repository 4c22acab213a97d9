"""The search for the end alone, and the pages of a range."""

from __future__ import annotations

from math import log2

from hypothesis import given
from hypothesis import strategies as st

from bulk_export.extract.page_range import EndSearch, PageRange

SIZE = 10


def records_on(page: int, records: int) -> int:
    return max(0, min(SIZE, records - (page - 1) * SIZE))


@given(records=st.integers(0, 2_000_000))
def test_search_is_short(records: int) -> None:
    """The end is found, by at most 2 log2(n) + 4 requests for n pages."""
    search = EndSearch(SIZE)
    requests = 0
    while not search.complete:
        page = search.next_page()
        assert page is not None
        search.record_response(page, records_on(page, records))
        requests += 1
    pages = -(-records // SIZE)
    assert search.end == pages
    assert requests <= 2 * log2(max(pages, 1)) + 4
    assert search.learned(unfiltered=True).records is None


@given(first=st.integers(1, 60), length=st.integers(1, 40), data=st.data())
def test_range_is_requested_once(first: int, length: int, data: st.DataObject) -> None:
    """Every page of a range is requested once, in any order of responses, and no page outside of it."""
    last = first + length - 1
    planned = PageRange(SIZE, 8, first=first, last=last)
    requested: list[int] = []
    in_flight: list[int] = []
    while not planned.complete:
        while (page := planned.next_page()) is not None:
            requested.append(page)
            in_flight.append(page)
        arriving = data.draw(st.sampled_from(in_flight))
        in_flight.remove(arriving)
        planned.record_response(arriving, SIZE)
    assert sorted(requested) == list(range(first, last + 1))
    assert planned.end == last


@given(first=st.integers(1, 60), records=st.integers(0, 900))
def test_open_range(first: int, records: int) -> None:
    """A range without a last page ends with the list, which may have become shorter than the range's beginning."""
    planned = PageRange(SIZE, 1, first=first, last=None)
    requested: list[int] = []
    while not planned.complete:
        page = planned.next_page()
        assert page is not None
        requested.append(page)
        planned.record_response(page, records_on(page, records))
    assert planned.end == max(first - 1, -(-records // SIZE))
    assert min(requested) >= first
