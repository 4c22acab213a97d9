"""What the responses of one sweep prove: which pages are in doubt, and where the list ends.

No single response ends a list. The only exception is a short page of a service that is known to honour the page size.
The end is proven in these cases:

1. The last page is full, and the following page was empty twice. An empty first page has to be empty twice as well.
2. The last page is shorter than requested, and the following page was empty once, after the last page had arrived. It
   need not be requested if the facts about the service suffice (`PagingFacts.believes`).
3. Pages are requested by position, the last one is short, and the position right behind its last record is also empty:
   otherwise the page may have been cut.
4. A status such as 404 stands for an empty page behind a full one: the full page was requested again, and then the
   status came again. Otherwise a service that answers everything with 404 for a minute would end the list.

Which pages are requested again:

- A page that was short or empty although a later one holds records, once; the longer response is kept. If both
  responses have the same length, or another page has it too, the service cuts its pages: see `page_lengths`.
- One of the pages that were cut, at the end of the sweep, unless the service was known to cut pages to that length.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bulk_export.extract.page_lengths import PageLengths
from bulk_export.extract.paging_facts import PagingFacts, is_round

# Services that refuse to page any deeper do so at a multiple of this many records.
_DEPTH = 1_000
NOTHING_KNOWN = PagingFacts()


@dataclass(slots=True)
class _EndMarks:
    """How far the end is proven. Each mark holds the last page seen at the time, so that a later page voids it.

    Attributes:
        empty_since: The following page was empty, in a response that came after this one.
        nothing_behind: The position right behind its last record was empty.
        read_again: It was requested again because a status stood for the following page.
        status_repeated: After that, the status came again.
    """

    empty_since: int | None = None
    nothing_behind: int | None = None
    read_again: int | None = None
    status_repeated: int | None = None


class PageEvidence:
    """What arrived for the pages of one sweep over one endpoint.

    Args:
        page_size: The number of records asked for per page; the service may give fewer at once.
        known: What earlier sweeps found out about the endpoint.
        by_position: Whether pages are requested by the position of their first record, so that the first page, once it
            is beyond doubt, tells how long the others are.
        proves_end: Whether the end has to be proven by an empty page, whatever is known about short pages.
    """

    def __init__(
        self,
        page_size: int,
        *,
        known: PagingFacts = NOTHING_KNOWN,
        by_position: bool = False,
        proves_end: bool = False,
    ) -> None:
        self._asked = page_size
        self._proves_end = proves_end
        self._known = known
        self._lengths = PageLengths(page_size, known=known, by_position=by_position)
        self._end_marks = _EndMarks()
        self._counts: dict[int, int] = {}
        # The number of responses, for pages that were requested more than once.
        self._response_counts: dict[int, int] = {}
        self._empty: set[int] = set()
        self._by_status: set[int] = set()
        # Pages to be requested again: one response was short, and a later page holds records.
        self._doubted: set[int] = set()
        self._last = 0
        self._first_empty_after: int | None = None
        # Pages up to this one will not be requested again.
        self._settled = 0
        # The last page, from the time a record behind it showed that it was cut until it is requested again.
        self._cut_short: int | None = None
        self._concluded = False
        self._pages = 0
        self._records = 0

    @property
    def page_size(self) -> int:
        """How many records a full page holds, as far as is known."""
        return self._lengths.full_page(self._counts.get(1, 0))

    @property
    def end(self) -> int | None:
        """The last page that holds records, 0 if no page does, None while it is not known."""
        last, marks = self._last, self._end_marks
        if self._concluded:
            return last
        behind = last + 1
        empty_responses = self._response_counts.get(behind, 1) if self._counts.get(behind) == 0 else 0
        needed = self._empty_responses_needed(last)
        # Cases 1 and 2.
        if empty_responses < needed:
            return None
        if needed and last and not self._is_full(last) and marks.empty_since != last:
            return None
        # Case 3.
        if needed and self.is_last_open() and marks.nothing_behind != last:
            return None
        # Case 4.
        if behind in self._by_status and self._needs_reading_again(last) and marks.status_repeated != last:
            return None
        return last

    @property
    def pages(self) -> int:
        """How many pages with records have arrived."""
        return self._pages

    @property
    def known_pages(self) -> int:
        """How many pages are known to hold records, arrived or not."""
        return self._last

    @property
    def records(self) -> int:
        """How many records have arrived, duplicates included."""
        return self._records

    @property
    def clamp(self) -> int | None:
        """The number of records to which the service cut pages, None if it did not."""
        return self._lengths.clamp

    @property
    def is_mixed(self) -> bool:
        """Whether the service cut some pages and not others: there may be records between them that no page showed."""
        return self._lengths.is_mixed

    @property
    def has_suspicious_end(self) -> bool:
        """Whether the end is in an unexpected place, although it is proven.

        (1) Far fewer records were found than in the last sweep, (2) all are on a page that may have been cut, or (3)
        the list ends with a status behind a full page, at a multiple of a thousand records: some services refuse to
        page any deeper.
        """
        last = self.end
        if not last:
            return last == 0 and self._known.far_fewer(0)
        if self._known.far_fewer(self._records) or self.ends_at_usual_cap:
            return True
        at_depth = -(-self._records // _DEPTH) * _DEPTH < self._records + self.page_size
        return last + 1 in self._by_status and self._is_full(last) and at_depth

    @property
    def ends_at_usual_cap(self) -> bool:
        """Whether all records are on one page, which has the length of a usual cap, and no longer page was ever seen.

        Then whatever cut the page may have emptied the following one, too. Users are warned of it once for a service.
        """
        length, known = self._counts.get(1, 0), self._known
        is_all = self._last == 1 and is_round(length, self._asked) and not self._lengths.is_clamp(length)
        return is_all and known.longest <= length != known.clamp and (self._asked, length) not in known.checked

    def learned(self, *, unfiltered: bool) -> PagingFacts:
        """Return the facts after the complete sweep; `unfiltered` if it requested every record of the endpoint."""
        records = self._records if unfiltered else None
        facts = self._known.after_sweep(longest=self._lengths.longest, clamp=self.clamp, records=records)
        last = self._last
        if last and not self._is_full(last) and self._counts.get(last + 1) == 0:
            facts = facts.with_checked(self._asked, self._counts[last])
        return facts

    def short_pages(self) -> tuple[int, ...]:
        """Return the pages that came back short or empty each time, although a later one holds records."""
        return tuple(sorted(page for page in self._counts if page < self._last and not self._is_full(page)))

    def state(self) -> dict[str, Any]:
        """Return what a later run needs to continue, besides the stored pages, as JSON values."""
        return {
            "answers": {str(page): count for page, count in sorted(self._response_counts.items())},
            "clamp_checked": self._lengths.is_checked,
            "raised": self._lengths.is_raised,
            "looked_behind": self._end_marks.nothing_behind,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned in an earlier run. Call it before the pages are restored."""
        self._response_counts.update((int(page), int(answers)) for page, answers in state.get("answers", {}).items())
        self._lengths.is_checked = bool(state.get("clamp_checked"))
        self._lengths.is_raised = bool(state.get("raised"))
        self._end_marks.nothing_behind = state.get("looked_behind")

    def count(self, page: int) -> int | None:
        """Return how many records arrived on `page`, None while it has not."""
        return self._counts.get(page)

    def needs_certainty(self, page: int) -> bool:
        """Whether much depends on the response for a page, so that it must not be confused with another one."""
        last = self._last
        return page in self._counts or (page == last + 1 and self._empty_responses_needed(last) == 1)

    def was_asked_again(self, page: int) -> bool:
        """Whether more than one response came for a page."""
        return page in self._response_counts

    def keeps(self, page: int, records: int) -> bool:
        """Whether a response is to be stored: the first for a page, and a later one that holds more."""
        before = self._counts.get(page)
        return before is None or (records > before and page > self._settled)

    def count_by_position(self, *, by_position: bool) -> None:
        """Set whether pages are requested by position, if that was found out after the planner was created."""
        self._lengths.by_position = by_position

    def is_last_open(self) -> bool:
        """Whether the last page seen was requested by position, and only one response shows that it is short."""
        last = self._last
        return self._lengths.by_position and last > 0 and not self._is_full(last) and last not in self._response_counts

    def expect(self, records: int) -> None:
        """Set the number of records that an earlier sweep over the same list found."""
        self._known = replace(self._known, records=records)

    def may_end_before(self, page: int) -> bool:
        """Whether a status for `page` can mean the end: not for the first page, nor before one with records."""
        return page > 1 and page > self._last >= 1

    def forget_statuses(self) -> None:
        """Forget all statuses that stood for empty pages: the service sent one for a page with records, too."""
        for page in self._by_status:
            self._forget(page)
        self._by_status.clear()
        self._end_marks.read_again = None
        self._first_empty_after = self._nearest_empty(self._last)

    def repeats(self, page: int) -> None:
        """Record that `page`, which arrived before, only repeats an earlier page: it counts as empty."""
        count = self._counts[page]
        if not count:
            return
        self._records -= count
        self._pages -= 1
        self._lengths.remove(page, count)
        self._counts[page] = 0
        self._empty.add(page)
        if page == self._last:
            self._last = max((other for other, count in self._counts.items() if count), default=0)
            self._doubted.discard(self._last)
        self._first_empty_after = self._nearest_empty(self._last)
        self._judge(page)

    def _add(self, page: int, records: int, *, is_certain: bool = True) -> None:
        """Record a response, whether it is the first for its page or not."""
        before = self._counts.get(page)
        self._by_status.discard(page)
        if before is not None:
            self._add_repeated(page, records, before)
        if before is not None and records > before and page <= self._settled:
            # Converted pages stay as they are.
            self._lengths.is_raised = True
        elif before is None or records > before:
            self._enter(page, records)
        if is_certain and not self._counts[page] and page == self._last + 1:
            self._end_marks.empty_since = self._last
        self._judge(page)

    def _add_repeated(self, page: int, records: int, before: int) -> None:
        """Record a further response for a page; an earlier one held `before` records."""
        self._response_counts[page] = self._response_counts.get(page, 1) + 1
        if page == self._last:
            self._end_marks.read_again = page
        if records == before and page < self._last:
            self._judge_all(self._lengths.repeat(records))
        if page == self._cut_short:
            self._cut_short = None
            if records <= before:
                self._lengths.mark_clamp(before)
        if self.end is not None and page == self._lengths.cut_page():
            self._lengths.is_checked = True

    def _add_status(self, page: int, *, is_certain: bool = True) -> None:
        """Record a status that stands for an empty page."""
        marks = self._end_marks
        if page in self._counts:
            self._response_counts[page] = self._response_counts.get(page, 1) + 1
        else:
            self._enter(page, 0)
        self._by_status.add(page)
        if is_certain and page == self._last + 1:
            marks.empty_since = self._last
        if page == self._last + 1 and marks.read_again == self._last:
            marks.status_repeated = self._last

    def _forget(self, page: int) -> None:
        """Treat a page as if nothing had arrived for it."""
        self._empty.discard(page)
        del self._counts[page]
        self._response_counts.pop(page, None)

    def _empty_responses_needed(self, last: int) -> int:
        """Return how many times the page behind `last` has to be empty."""
        if not last:
            return 1 if self._known.records == 0 else 2
        length = self._counts[last]
        if self._is_full(last):
            return 2
        records = (last - 1) * self.page_size + length
        is_believed = not self._proves_end and self._known.believes(asked=self._asked, length=length, found=records)
        return 0 if is_believed else 1

    def _needs_reading_again(self, last: int) -> bool:
        return last > 0 and (self._is_full(last) or is_round(self._counts[last], self._asked))

    def _is_full(self, page: int) -> bool:
        return self._lengths.is_full(page, self._counts.get(page, 0), self._counts.get(1, 0))

    def _enter(self, page: int, records: int) -> None:
        """Count a response that is the first for its page, or longer than the one before."""
        before = self._counts.get(page, 0)
        self._counts[page] = records
        self._records += records - before
        self._pages += (records > 0) - (before > 0)
        self._lengths.remove(page, before)
        if not records:
            self._empty.add(page)
            if page > self._last:
                nearest = self._first_empty_after
                self._first_empty_after = page if nearest is None else min(page, nearest)
            return
        self._empty.discard(page)
        self._judge_all(self._lengths.add(page, records))
        if page > self._last:
            passed, self._last = self._last, page
            if passed:
                self._judge(passed)
            self._pass_by_empty_pages(page)
        elif self._first_empty_after == page:
            self._first_empty_after = self._nearest_empty(self._last)

    def _pass_by_empty_pages(self, last: int) -> None:
        """Mark empty pages as doubtful if a later page holds records: none of them is the end."""
        for page in [page for page in self._empty if page < last]:
            if page in self._by_status:
                # The status was a failure, not a page.
                self._by_status.discard(page)
                self._forget(page)
            else:
                self._judge(page)
        self._first_empty_after = self._nearest_empty(last)

    def _judge(self, page: int) -> None:
        """Record whether a page has to be requested again, because it was short once and a later page holds records."""
        is_open = (
            page in self._counts and page < self._last and page not in self._response_counts and not self._is_full(page)
        )
        if is_open and page > self._settled:
            self._doubted.add(page)
            return
        self._doubted.discard(page)
        length = self._counts.get(page, 0)
        if page < self._last and self._lengths.is_known_clamp(length):
            self._lengths.mark_clamp(length)

    def _judge_all(self, pages: Iterable[int]) -> None:
        for page in list(pages):
            self._judge(page)

    def _nearest_empty(self, page: int) -> int | None:
        return min((empty for empty in self._empty if empty > page), default=None)
