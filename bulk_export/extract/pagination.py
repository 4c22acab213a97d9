"""Which page to request next, although the service does not say how many there are.

Planners are pure state machines, one for each sweep: they record the responses, and choose the next page. The service
gives no total and no next link. Requests are scarce, so empty pages must hardly ever be requested, and yet many
requests should be in flight. A page is worth requesting in these cases, the first of which goes first:

1. It was released, because its request brought no page.
2. One response for it is not enough (`page_evidence`).
3. It is the *probe*, which looks for the end; at most one is in flight. While no page was empty, the probe leaps from
   the last page seen, `p`, to `p + min(p, stride)`; after an empty one, it bisects between the two.
4. It must hold records, since a later page did.
5. It follows the last page seen: it holds records, or it is the empty page that proves the end.
6. It has to be proven empty, or it was cut and is requested once more at the end.

Only probes can be wasted. The first wasted one overshoots by less than `min(p, stride)` pages, and each further one
halves that gap. So for `n` pages with records, at most `1 + log2(n)` requests are wasted, for any number of workers and
any order of responses, and one more if the service is not known yet. The empty page behind a last page that is exactly
full is not counted: it is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from bulk_export.extract.page_evidence import NOTHING_KNOWN, PageEvidence
from bulk_export.extract.paging_facts import PagingFacts


class PagePlanner(PageEvidence):
    """The pages of one sweep over one endpoint.

    Args:
        page_size: The number of records asked for per page.
        stride: The number of pages that a probe leaps at most, and so how many pages become known at once: about
            twice the number of workers keeps them all busy.
        known: As for `PageEvidence`.
        by_position: As for `PageEvidence`.
        proves_end: As for `PageEvidence`.
    """

    def __init__(
        self,
        page_size: int,
        stride: int,
        *,
        known: PagingFacts = NOTHING_KNOWN,
        by_position: bool = False,
        proves_end: bool = False,
    ) -> None:
        super().__init__(page_size, known=known, by_position=by_position, proves_end=proves_end)
        self._stride = max(1, stride)
        self._in_flight: set[int] = set()
        self._released: set[int] = set()
        # Pages that arrived and are to be requested once more, whether they held records or not.
        self._once_more: set[int] = set()
        self._probe: int | None = None
        self._first_missing = 1
        self._first_unrequested = 1
        # The number of pages of a sample, which need not be all; None for all pages.
        self.sample: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every page that holds records has arrived, and none is in doubt."""
        if self._in_flight or self._released or self._doubted or self._once_more:
            return False
        end = self.end
        return (
            end is not None
            and self._first_missing > end
            and (self._concluded or self._lengths.is_checked or self._lengths.cut_page() is None)
        )

    @property
    def contiguous(self) -> int:
        """The page up to which every page has arrived and will not be requested again."""
        return self._first_missing - 1 if self.complete else self._settled

    @property
    def likely_pages(self) -> int | None:
        """How many pages hold records, as far as can be told: what is proven, else about as many as the last time.

        None if nothing is known but pages that were seen.
        """
        end, seen, empty = self.end, self._last, self._first_empty_after
        if end is not None:
            return end
        records = self._known.records
        likely = None if records is None else math.ceil(records / max(1, self.page_size))
        if empty is not None:
            likely = (seen + empty) // 2 if likely is None else max(seen, min(likely, empty - 1))
        elif likely is not None:
            likely = max(likely, seen + 1 if self._is_full(seen) else seen)
        return likely if likely is None or self.sample is None else min(likely, self.sample)

    @property
    def is_concluded(self) -> bool:
        """Whether the pages are those of a finished export."""
        return self._concluded

    def next_page(self, horizon: int | None = None) -> int | None:
        """Return a page to request now, and count it as in flight; None if no page is worth requesting yet.

        Pages beyond `horizon` are left for later.
        """
        page = self._choose(self._bounded(horizon))
        if page is None:
            return None
        self._released.discard(page)
        self._in_flight.add(page)
        if page > self._last + 1 or self._last == 0:
            self._probe = page
        return page

    def has_work(self, horizon: int | None = None) -> bool:
        """Whether `next_page` would return a page."""
        return self._choose(self._bounded(horizon)) is not None

    def _bounded(self, horizon: int | None) -> int | None:
        return horizon if self.sample is None else min(self.sample, self.sample if horizon is None else horizon)

    def release(self, page: int) -> None:
        """Record that the request for `page` brought no page, so that it is requested again."""
        self._in_flight.remove(page)
        self._released.add(page)

    def record_response(self, page: int, records: int, *, is_certain: bool = True) -> None:
        """Record that `page` arrived with `records` records. Also used for pages that an earlier run stored.

        Unless it `is_certain`, this may have been the answer to another request: a page without records proves no end.
        """
        self._arrived(page)
        self._add(page, records, is_certain=is_certain)
        self._advance()

    def record_no_such_page(self, page: int, *, is_certain: bool = True) -> None:
        """Record a status which means that the page does not exist; it is behind the last page seen."""
        self._arrived(page)
        self._add_status(page, is_certain=is_certain)
        self._advance()

    def record_nothing_behind(self, page: int) -> None:
        """Record that `page` came back empty, requested by the position right behind the last record seen."""
        if page == self._last + 1:
            self._end_marks.nothing_behind = self._last

    def doubt_last(self, page: int) -> None:
        """Record that `page`, requested by the position right behind the last record seen, holds records.

        So the last page was cut. It is requested again, and `page` after it.
        """
        self.release(page)
        if self.is_last_open():
            self._cut_short = self._last

    def read_again(self, page: int) -> None:
        """Have a page requested once more, whether it held records or not."""
        self._once_more.add(page)

    def ask_anew(self, page: int) -> None:
        """Forget what arrived for `page`, unless it is being requested again already."""
        if page in self._counts and page not in self._in_flight:
            self._doubted.discard(page)
            self._forget(page)
            self._first_empty_after = self._nearest_empty(self._last)

    def disregard(self, page: int) -> None:
        """Have `page` requested again instead of restoring what an earlier run stored for it."""
        self._response_counts.pop(page, None)

    def settle(self, last: int) -> None:
        """Keep the pages up to `last` as they are: an earlier run converted them, so they are not requested again."""
        # Those that are short count as asked for again: pages may yet arrive that would make them doubtful.
        for page, records in self._counts.items():
            if page <= last and records and not self._is_full(page):
                self._response_counts.setdefault(page, 2)
        self._doubted = {page for page in self._doubted if page > last}
        self._advance()

    def conclude(self) -> None:
        """Treat the sweep as complete: its pages are those of a finished export."""
        self._concluded = True
        self._once_more.clear()
        self._doubted.clear()
        self._advance()

    def _arrived(self, page: int) -> None:
        self._in_flight.discard(page)
        self._released.discard(page)
        self._once_more.discard(page)
        if page == self._probe:
            self._probe = None

    def _forget(self, page: int) -> None:
        super()._forget(page)
        self._first_missing = min(self._first_missing, page)
        self._first_unrequested = min(self._first_unrequested, page)

    def _advance(self) -> None:
        while self._first_missing in self._counts:
            self._first_missing += 1
        while self._is_settled(self._settled + 1):
            self._settled += 1
        if self.sample is not None and self._first_missing > self.sample:
            self._concluded = True

    def _is_settled(self, page: int) -> bool:
        is_open = page in self._doubted or page in self._once_more or page == self._cut_short
        if page not in self._counts or is_open:
            return False
        # The response that is on its way, or being stored, may be longer.
        if page in self._in_flight:
            return False
        return page < self._last or (page == self._last and self._is_full(page))

    def _choose(self, horizon: int | None) -> int | None:
        if self._concluded:
            return None
        # Whatever lies behind the last page is only known once it is known how long that is.
        if self._cut_short is not None:
            return None if self._cut_short in self._in_flight else self._cut_short
        # The cases of the module's docstring. Probes go before known pages, since they make pages known.
        for page in self._candidates():
            if page is not None and (horizon is None or page <= horizon):
                return page
        return None

    def _candidates(self) -> Iterator[int | None]:
        """Yield what may be requested, the most urgent first: what comes later is not looked for in vain."""
        yield min(self._released, default=None)
        yield next((page for page in self._doubted if page not in self._in_flight), None)
        yield next((page for page in self._once_more if page not in self._in_flight), None)
        yield self._next_probe()
        yield self._next_known()
        yield self._next_proof()

    def _next_probe(self) -> int | None:
        """Return the page that looks for the end, if none does."""
        if self._probe is not None or self.end is not None:
            return None
        reached = self._last
        if reached and not self._is_full(reached):
            # The list seems to end here, so the page behind it is the likeliest to be empty.
            page = reached + 1
        elif self._first_empty_after is None:
            # Nothing came back empty yet: leap, as far again as was seen.
            page = reached + min(max(1, reached), self._stride)
        else:
            # The end lies in between: bisect.
            page = (reached + self._first_empty_after) // 2
        return None if page in self._in_flight or page in self._counts or page < 1 else page

    def _next_known(self) -> int | None:
        """Return a page that holds records, or the one that follows the last page seen."""
        # Pages below this mark have arrived, are in flight, or were released.
        while self._first_unrequested in self._counts or self._first_unrequested in self._in_flight:
            self._first_unrequested += 1
        page = self._first_unrequested
        if page < self._last:
            return page
        follows = page == self._last + 1 and page > 1 and self.end is None
        return page if follows else None

    def _next_proof(self) -> int | None:
        """Return the page that still has to be proven empty, or the one before it."""
        last = self._last
        # When everything is there, a page that was cut is looked at once more.
        if self.end is not None and not self._doubted and self._first_missing > last and not self._lengths.is_checked:
            page = self._lengths.cut_page()
            return None if page in self._in_flight else page
        if self._counts.get(last + 1) != 0 or self.end is not None:
            return None
        # A status stood for the page behind: the last page is read again before the status is asked for once more.
        is_open = last + 1 in self._by_status and self._needs_reading_again(last) and self._end_marks.read_again != last
        page = last if is_open else last + 1
        return None if page in self._in_flight else page


class SinglePagePlanner(PagePlanner):
    """An endpoint whose records come in one response, which is stored as one or several pages.

    The pages arrive together and in order, so none of them is ever in doubt.
    """

    def __init__(self, page_size: int) -> None:
        super().__init__(page_size, stride=1)

    @property
    def end(self) -> int | None:
        """The last page that holds records, None while nothing arrived."""
        return self._last if self._counts else None

    @property
    def contiguous(self) -> int:
        """The page up to which every page has arrived."""
        return self._first_missing - 1

    @property
    def clamp(self) -> None:
        """None: nothing was cut."""
        return None

    @property
    def is_mixed(self) -> bool:
        """Never."""
        return False

    @property
    def has_suspicious_end(self) -> bool:
        """Never: one response holds everything."""
        return False

    def short_pages(self) -> tuple[int, ...]:
        """None: one response shows one instant."""
        return ()

    def _judge(self, page: int) -> None:
        return

    def _choose(self, horizon: int | None) -> int | None:
        is_wanted = not self._counts and not self._in_flight and (horizon is None or horizon >= 1)
        return 1 if is_wanted else None


def planner_for(style: str, page_size: int, stride: int, known: PagingFacts, *, proves_end: bool) -> PagePlanner:
    """Return the planner for a paging style.

    Args:
        style: How pages are requested: "pages", "offset" or "none".
        page_size: The number of records to request per page.
        stride: As for `PagePlanner`.
        known: The facts about the endpoint.
        proves_end: As for `PageEvidence`.
    """
    if style == "none":
        return SinglePagePlanner(page_size)
    return PagePlanner(page_size, stride, known=known, by_position=style == "offset", proves_end=proves_end)
