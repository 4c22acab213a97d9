"""How long a full page is: as many records as asked for, or as many as the service gives at most (a clamp).

A service that gives at most 100 records where 3,000 are asked for has the page size 100 for all purposes: with page
numbers, it cuts the list into pages of 100. Nobody says so; it shows in the lengths of pages:

1. Two pages of the same length below the one asked for, or one page that is as short again, are a sign of a clamp,
   where no longer page was seen, or where the length is a usual cap.
2. By position, gaps between pages may be of any length, so that three of the same length are needed.
3. A clamp that was known before the sweep counts at once.
4. Pages longer than a clamp mean that it changed in the middle: there may be records between the pages of both kinds.
"""

from __future__ import annotations

from collections.abc import Collection

from bulk_export.extract.paging_facts import PagingFacts, is_round

# By position, so many pages of the same length make a clamp.
_OFTEN = 3


class PageLengths:
    """The lengths of the pages of one sweep.

    Args:
        asked: The number of records asked for per page.
        known: What earlier sweeps found out about the endpoint.
        by_position: Whether pages are requested by the position of their first record.
    """

    def __init__(self, asked: int, *, known: PagingFacts, by_position: bool) -> None:
        self.asked = asked
        self.by_position = by_position
        self.longest = 0
        # Whether a page that was cut was requested once more at the end, and whether it was longer then.
        self.is_checked = False
        self.is_raised = False
        self._known_clamp = known.clamp
        # Pages shorter than asked for, by their length.
        self._pages_of: dict[int, set[int]] = {}
        self._clamps: set[int] = set()

    @property
    def clamp(self) -> int | None:
        """The number of records to which the service cut pages, None where it did not."""
        return min(self._clamps, default=None)

    @property
    def is_mixed(self) -> bool:
        """Whether the service cut some pages and not others: there may be records between them that no page showed."""
        return self.is_raised or (bool(self._clamps) and self.longest > min(self._clamps))

    def full_page(self, first: int) -> int:
        """Return the length of a full page; `first` is that of the first page, 0 while it has not come.

        By position, the first page tells it, once it is beyond doubt.
        """
        if self.by_position:
            return first or self.asked
        return min(self._clamps, default=self.asked)

    def is_full(self, page: int, length: int, first: int) -> bool:
        """Whether a page of this length is full, so that there may be more behind it."""
        size = self.full_page(first) if self.by_position and page > 1 else self.asked
        return length >= size or (length > 0 and (length in self._clamps or length == self._known_clamp))

    def is_known_clamp(self, length: int) -> bool:
        """Whether the service was known to cut pages to this length before the sweep."""
        return 0 < length == self._known_clamp

    def is_clamp(self, length: int) -> bool:
        """Whether the service cut pages to this length in this sweep."""
        return length in self._clamps

    def add(self, page: int, length: int) -> Collection[int]:
        """Record the length of a page. Return the pages that count as full from now on."""
        self.longest = max(self.longest, length)
        if not 0 < length < self.asked:
            return ()
        alike = self._pages_of.setdefault(length, set())
        alike.add(page)
        return self._mark(length) if len(alike) > 1 else ()

    def remove(self, page: int, length: int) -> None:
        """Forget the length of a page."""
        if 0 < length < self.asked:
            self._pages_of[length].discard(page)

    def repeat(self, length: int) -> Collection[int]:
        """Record that a page in the middle was as short when it was requested again. Return what counts as full now."""
        return self._mark(length) if 0 < length < self.asked else ()

    def mark_clamp(self, length: int) -> None:
        """Record that a page of this length was cut."""
        self._clamps.add(length)

    def cut_page(self) -> int | None:
        """Return a page that was cut, to be requested once more at the end: the clamp may be another one by then.

        Records between two pages would not have been shown in that case. None where the clamp was known before.
        """
        if not self._clamps or self.by_position or self._known_clamp in self._clamps:
            return None
        return min(self._pages_of.get(min(self._clamps), ()), default=None)

    def _mark(self, length: int) -> Collection[int]:
        """Take a length for a clamp, unless there are longer pages and it is no usual cap."""
        alike = self._pages_of.get(length, set())
        is_often = self.by_position and len(alike) >= _OFTEN
        if not (length >= self.longest or is_round(length, self.asked) or is_often):
            return ()
        self._clamps.add(length)
        return alike
