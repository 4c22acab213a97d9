"""Which page to ask for next, when nobody says how many there are.

Pure state machines, one an endpoint, told what came back and asked what is worth requesting. A page is
worth requesting when it is known to hold records (a later page did), when it follows a full page (it holds
records, or is the empty page that proves an exactly full last one), or when it is the one probe that looks
for the end. Probes gallop forward from the last page seen, by at most `stride`, and bisect once one came
back empty. With `n` pages that hold records, at most `1 + log2(n)` requests come back empty beyond the one
that an exactly full last page makes necessary, however many workers ask.

Where nobody knows how many records a service gives at most, a page shorter than asked for proves nothing: the
first page tells how many come at once, and only an empty page (or one that repeats an earlier one) is the end.
"""

from __future__ import annotations

from collections.abc import Iterable


class EndpointPlan:
    """The pages of one sweep over one endpoint.

    `page_size` is the number of records asked for per page; unless it `is_exact`, the service may give fewer at
    once. `stride` bounds how far a probe leaps, and so how many pages become known at once: about twice the number
    of workers keeps them all busy.
    """

    def __init__(self, page_size: int, stride: int, *, is_exact: bool = True) -> None:
        self._page_size = page_size
        self._is_exact = is_exact
        self._stride = max(1, stride)
        self._counts: dict[int, int] = {}
        self._in_flight: set[int] = set()
        self._returned: set[int] = set()
        self._last_nonempty = 0
        self._first_empty_after: int | None = None
        self._probe: int | None = None
        self._first_missing = 1
        self._first_unrequested = 1
        self._pages = 0
        self._records = 0

    @property
    def is_exact(self) -> bool:
        """Whether a page shorter than asked for is known to be the last one."""
        return self._is_exact

    @property
    def page_size(self) -> int:
        """How many records a full page holds, as far as is known."""
        return self._page_size if self._is_exact else self._counts.get(1) or self._page_size

    @property
    def end(self) -> int | None:
        """The last page that holds records, 0 where there is none, None while it is not known."""
        if self._first_empty_after == self._last_nonempty + 1:
            return self._last_nonempty
        if self._is_exact and 0 < self._counts.get(self._last_nonempty, 0) < self._page_size:
            return self._last_nonempty
        return None

    @property
    def complete(self) -> bool:
        """Whether every page that holds records has come back."""
        end = self.end
        return end is not None and not self._in_flight and not self._returned and self._first_missing > end

    @property
    def pages(self) -> int:
        """How many pages with records have come back."""
        return self._pages

    @property
    def known_pages(self) -> int:
        """How many pages are known to hold records, come back or not."""
        return self._last_nonempty

    @property
    def records(self) -> int:
        """How many records have come back, duplicates included."""
        return self._records

    @property
    def contiguous(self) -> int:
        """The page up to which every page has come back."""
        return self._first_missing - 1

    def short_pages(self) -> tuple[int, ...]:
        """Pages that came back short or empty although a later one held records: the data changed."""
        return tuple(
            sorted(
                page for page, count in self._counts.items() if page < self._last_nonempty and count < self.page_size
            )
        )

    def count(self, page: int) -> int | None:
        """How many records came back on `page`, None while it has not."""
        return self._counts.get(page)

    def take(self, horizon: int | None = None) -> int | None:
        """A page to request now, from then on in flight; None where nothing is worth requesting yet.

        Pages beyond `horizon` are left for later.
        """
        page = self._choose(horizon)
        if page is None:
            return None
        self._returned.discard(page)
        self._in_flight.add(page)
        if page > self._last_nonempty + 1 or self._last_nonempty == 0:
            self._probe = page
        return page

    def has_work(self, horizon: int | None = None) -> bool:
        """Whether `take` would give a page."""
        return self._choose(horizon) is not None

    def give_back(self, page: int) -> None:
        """The request for `page` brought nothing; the page is to be requested again."""
        self._in_flight.remove(page)
        self._returned.add(page)

    def came_back(self, page: int, records: int) -> None:
        """`page` came back with `records` records. Also used for pages that an earlier run stored."""
        self._in_flight.discard(page)
        self._returned.discard(page)
        self._counts[page] = records
        self._records += records
        self._pages += records > 0
        while self._first_missing in self._counts:
            self._first_missing += 1
        if page == self._probe:
            self._probe = None
        if records:
            if page > self._last_nonempty:
                self._last_nonempty = page
                if self._first_empty_after is not None and self._first_empty_after <= page:
                    self._first_empty_after = self._nearest_empty(page)
        elif page > self._last_nonempty:
            nearest = self._first_empty_after
            self._first_empty_after = page if nearest is None else min(page, nearest)

    def repeats(self, page: int) -> None:
        """`page` turned out to hold nothing but what an earlier page holds: it counts as empty."""
        self._records -= self._counts[page]
        self._pages -= self._counts[page] > 0
        self._counts[page] = 0
        self._last_nonempty = max((one for one, count in self._counts.items() if count), default=0)
        self._first_empty_after = self._nearest_empty(self._last_nonempty)

    def restore(self, stored: Iterable[tuple[int, int]]) -> None:
        """Take in `(page, records)` pairs that an earlier run stored."""
        for page, records in stored:
            self.came_back(page, records)

    def _choose(self, horizon: int | None) -> int | None:
        candidates = (min(self._returned, default=None), self._next_probe(), self._next_known())
        for page in candidates:
            if page is not None and (horizon is None or page <= horizon):
                return page
        return None

    def _next_probe(self) -> int | None:
        if self._probe is not None or self.end is not None:
            return None
        reached = self._last_nonempty
        if self._first_empty_after is None:
            page = reached + min(max(1, reached), self._stride)
        else:
            page = (reached + self._first_empty_after) // 2
        return None if page in self._in_flight else page

    def _next_known(self) -> int | None:
        # Pages below this mark have come back, are in flight, or were given back.
        while self._first_unrequested in self._counts or self._first_unrequested in self._in_flight:
            self._first_unrequested += 1
        page = self._first_unrequested
        if page < self._last_nonempty:
            return page
        follows_full_page = page == self._last_nonempty + 1 and page > 1 and self.end is None
        return page if follows_full_page else None

    def _nearest_empty(self, page: int) -> int | None:
        return min((empty for empty, count in self._counts.items() if not count and empty > page), default=None)


class WholePlan(EndpointPlan):
    """An endpoint whose records come with one request, and are kept as one or several pages.

    They come back together, in order.
    """

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size, stride=1)

    @property
    def end(self) -> int | None:
        """The last page that holds records, None while nothing came back."""
        return self._last_nonempty if self._counts else None

    def short_pages(self) -> tuple[int, ...]:
        """None: what came with one answer is of one moment."""
        return ()

    def _choose(self, horizon: int | None) -> int | None:
        wanted = not self._counts and not self._in_flight and (horizon is None or horizon >= 1)
        return 1 if wanted else None
