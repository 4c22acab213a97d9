"""Planners for a list that several processes read together: one finds its end, the others read a range of it each.

`EndSearch` is the search of `PagePlanner` alone. It requests no page merely because it holds records, and its leaps
double without a bound. For `n` pages with records it sends at most `2 * log2(n) + 4` requests, besides those for pages
that are in doubt. `PageRange` is told which pages hold records, and requests only those of its range.
"""

from __future__ import annotations

from dataclasses import replace

from bulk_export.extract.page_evidence import NOTHING_KNOWN
from bulk_export.extract.pagination import PagePlanner
from bulk_export.extract.paging_facts import PagingFacts

_NO_BOUND = 2**40


class EndSearch(PagePlanner):
    """Finds the last page of a list without requesting all before it. Its arguments are those of `PagePlanner`."""

    def __init__(
        self,
        page_size: int,
        *,
        known: PagingFacts = NOTHING_KNOWN,
        by_position: bool = False,
        proves_end: bool = False,
    ) -> None:
        super().__init__(page_size, _NO_BOUND, known=known, by_position=by_position, proves_end=proves_end)

    @property
    def complete(self) -> bool:
        """Whether the end is proven, and no page is in doubt."""
        is_busy = self._in_flight or self._released or self._doubted or self._once_more
        return not is_busy and self.end is not None

    @property
    def has_suspicious_end(self) -> bool:
        """Whether all records are on one page that may have been cut: of a list, only few records were counted."""
        return self.ends_at_usual_cap

    def learned(self, *, unfiltered: bool) -> PagingFacts:
        """Return the facts, without a number of records: not all were seen."""
        return super().learned(unfiltered=False)

    def _next_known(self) -> int | None:
        return None


class PageRange(PagePlanner):
    """The pages from `first` to `last` of a longer list, or to its end.

    Args:
        page_size: The number of records asked for per page.
        stride: As for `PagePlanner`.
        first: The first page; every page before it counts as full.
        last: The last page, with at least one page of records behind it; None reads on to the end of the list.
        known: What is known of the endpoint.
        by_position: As for `PagePlanner`.
        proves_end: As for `PagePlanner`.
    """

    def __init__(
        self,
        page_size: int,
        stride: int,
        *,
        first: int,
        last: int | None,
        known: PagingFacts = NOTHING_KNOWN,
        by_position: bool = False,
        proves_end: bool = False,
    ) -> None:
        # How many records there are tells nothing while only some of them are read.
        super().__init__(
            page_size, stride, known=replace(known, records=None), by_position=by_position, proves_end=proves_end
        )
        self._range_end = last
        full = min(known.clamp or page_size, page_size)
        if full < page_size:
            self._lengths.mark_clamp(full)
        neighbours = {1, first - 1} if first > 1 else set()
        if last is not None:
            neighbours.add(last + 1)
            # The page that would be requested once more may belong to another range.
            self._lengths.is_checked = True
        for page in sorted(neighbours):
            self._add(page, full)
        self._first_missing = self._first_unrequested = first
        self._settled = first - 1
        self._advance()

    @property
    def end(self) -> int | None:
        """The last page of the range, which may be that of the list."""
        return super().end if self._range_end is None else self._range_end

    @property
    def has_suspicious_end(self) -> bool:
        """Never: only some of the records were seen."""
        return False
