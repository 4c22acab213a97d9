"""How long a full page is: as many records as asked for, or as many as the service gives at most (a clamp).

A service that gives at most 100 records although 3,000 were requested has pages of 100. It does not say so; the lengths
of pages show it:

1. Two pages have the same length, shorter than requested, or a page has the same length when it is requested again: a
   clamp, if no longer page was seen or the length is a usual cap.
2. Pages are requested by position: gaps between them may have any length, so three pages of the same length are needed.
3. The clamp was known before the sweep: it counts at once.
4. Pages are longer than the clamp: it changed during the sweep, and there may be records between pages of both lengths.
"""

from __future__ import annotations

from collections.abc import Collection

from bulk_export.extract.paging_facts import PagingFacts, is_round

# The number of pages of the same length that make a clamp if pages are requested by position.
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
        # Whether a cut page was requested again at the end of the sweep, and whether it was longer then.
        self.is_checked = False
        self.is_raised = False
        self._known_clamp = known.clamp
        # Pages shorter than asked for, by their length.
        self._pages_of: dict[int, set[int]] = {}
        self._clamps: set[int] = set()

    @property
    def clamp(self) -> int | None:
        """The number of records to which the service cut pages, None if it did not."""
        return min(self._clamps, default=None)

    @property
    def is_mixed(self) -> bool:
        """Whether the service cut some pages and not others: there may be records between them that no page showed."""
        return self.is_raised or (bool(self._clamps) and self.longest > min(self._clamps))

    def full_page(self, first: int) -> int:
        """Return the length of a full page; `first` is the length of the first page, 0 until it arrives.

        If pages are requested by position, it is that of the first page, once that is beyond doubt.
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
        """Record that a page in the middle had the same length again. Return the pages that are full now."""
        return self._mark(length) if 0 < length < self.asked else ()

    def mark_clamp(self, length: int) -> None:
        """Record that a page of this length was cut."""
        self._clamps.add(length)

    def cut_page(self) -> int | None:
        """Return a page that was cut, to be requested once more at the end, or None if the clamp was known before.

        If the clamp changed during the sweep, that page is longer then, and records between two pages were missed.
        """
        if not self._clamps or self.by_position or self._known_clamp in self._clamps:
            return None
        return min(self._pages_of.get(min(self._clamps), ()), default=None)

    def _mark(self, length: int) -> Collection[int]:
        """Record a length as a clamp, unless longer pages were seen and it is not a usual cap."""
        alike = self._pages_of.get(length, set())
        is_often = self.by_position and len(alike) >= _OFTEN
        if not (length >= self.longest or is_round(length, self.asked) or is_often):
            return ()
        self._clamps.add(length)
        return alike
