"""What the answers to one sweep prove: how long its pages are, which of them are in doubt, and where the end is.

No single answer ends a sweep, but for a short page of a service that is known to honour the page size:

- Behind a full page, the page after it has to come back empty twice, and so does an empty first page.
- Behind a page that is shorter than asked for, the page after it has to come back empty once, unless what is known of
  the service says enough (`PagingFacts.believes`).
- A page that came back short or empty although a later one holds records is asked for once more, and the longer
  answer is kept. Where it is as long again, or as long as another page, the service cuts its pages (a clamp), and
  that length is a full page from then on.
- Where the service cut its pages, and was not known to, one of them is asked for once more at the end.
- Where a status such as 404 stands for an empty page behind a full one, that page is read again in between: a
  service that answers so to everything for a minute has no end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from bulk_export.extract.paging_facts import PagingFacts, is_round

# Services that refuse to page any deeper do so at a multiple of this many records.
# So many pages of the same length leave gaps where pages are asked for by position.
_DEPTH, _OFTEN = 1_000, 3
NOTHING_KNOWN = PagingFacts()


class PageEvidence:
    """What came back for the pages of one sweep over one endpoint.

    `page_size` is the number of records asked for per page; the service may give fewer at once. With `by_position`,
    pages are asked for by the position of their first record, so that the first page, once it is beyond doubt, tells
    how long the others are. If it `proves_end`, no short page is believed to be the last one by what is known.
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
        self._by_position = by_position
        self._proves_end = proves_end
        self._known = known
        self._counts: dict[int, int] = {}
        # How many answers a page has had, where it is more than one.
        self._answers: dict[int, int] = {}
        self._empty: set[int] = set()
        self._by_status: set[int] = set()
        # Pages that were shorter than asked for, by their length.
        self._of_length: dict[int, set[int]] = {}
        self._clamps: set[int] = set()
        # Pages to be asked for again: one answer was short, and a later page holds records.
        self._doubted: set[int] = set()
        self._last = 0
        self._longest = 0
        self._first_empty_after: int | None = None
        # Pages up to this one will not be asked for again.
        self._settled = 0
        # The last page, where it was read once more since a status stood for the page behind it, and where such a
        # status came after that, too.
        self._read_again: int | None = None
        self._sealed: int | None = None
        # The last page, where a position behind it showed that it was cut, until it is read again.
        # The last page behind which an empty page came after it: what came before may have been cut otherwise.
        self._empty_since: int | None = None
        self._looked_behind: int | None = None
        self._cut_short: int | None = None
        # Whether a page that was cut was asked for once more at the end, and whether it was longer then.
        self._is_clamp_checked = False
        self._is_raised = False
        self._concluded = False
        self._pages = 0
        self._records = 0

    @property
    def page_size(self) -> int:
        """How many records a full page holds, as far as is known."""
        if self._by_position:
            return self._counts.get(1) or self._asked
        return min(self._clamps, default=self._asked)

    @property
    def end(self) -> int | None:
        """The last page that holds records, 0 where there is none, None while it is not known."""
        last = self._last
        if self._concluded:
            return last
        behind = last + 1
        empty_answers = self._answers.get(behind, 1) if self._counts.get(behind) == 0 else 0
        needed = self._empty_answers_needed(last)
        if empty_answers < needed:
            return None
        if needed and last and not self._is_full(last) and self._empty_since != last:
            return None
        if needed and self.is_last_open() and self._looked_behind != last:
            return None
        if behind in self._by_status and self._needs_reading_again(last) and self._sealed != last:
            return None
        return last

    @property
    def pages(self) -> int:
        """How many pages with records have come back."""
        return self._pages

    @property
    def known_pages(self) -> int:
        """How many pages are known to hold records, come back or not."""
        return self._last

    @property
    def records(self) -> int:
        """How many records have come back, duplicates included."""
        return self._records

    @property
    def clamp(self) -> int | None:
        """The number of records to which the service cut pages, None where it did not."""
        return min(self._clamps, default=None)

    @property
    def is_mixed(self) -> bool:
        """Whether the service cut some pages and not others: there may be records between them that were not shown."""
        return self._is_raised or (bool(self._clamps) and self._longest > min(self._clamps))

    @property
    def has_suspicious_end(self) -> bool:
        """Whether the end is where one would not expect it, although every rule for it was kept.

        Far fewer records were found than the last time, all stand on a page that may have been cut, or a status stands
        for the page that would hold the thousandth, two thousandth… record, behind a full page: some services refuse to
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
        """Whether all there is stands on one page as long as a usual cap, where nothing longer was ever seen.

        The empty page behind it may come from what cut it. Once it is known of the service, it is not said again.
        """
        length, known = self._counts.get(1, 0), self._known
        is_all = self._last == 1 and is_round(length, self._asked) and length not in self._clamps
        return is_all and known.longest <= length != known.clamp and (self._asked, length) not in known.checked

    def learned(self, *, unfiltered: bool) -> PagingFacts:
        """What is known now that the sweep is complete; `unfiltered` where it showed everything there is."""
        known, last = self._known, self._last
        clamp = self.clamp
        longest = max(known.longest, self._longest)
        if clamp is not None:
            # What was believed of longer pages does not hold any more.
            longest = clamp
            known = PagingFacts(first=known.first, style=known.style)
        elif known.clamp is not None and self._longest > known.clamp:
            clamp = None
        else:
            clamp = known.clamp
        learned = PagingFacts(
            longest=longest,
            clamp=clamp,
            checked=known.checked,
            records=self._records if unfiltered else known.records,
            first=known.first,
            style=known.style,
        )
        if last and not self._is_full(last) and self._counts.get(last + 1) == 0:
            learned = learned.with_checked(self._asked, self._counts[last])
        return learned

    def short_pages(self) -> tuple[int, ...]:
        """Pages that came back short or empty although a later one held records, each time they were asked for."""
        return tuple(sorted(page for page in self._counts if page < self._last and not self._is_full(page)))

    def state(self) -> dict[str, Any]:
        """What has to be known besides the stored pages to go on from here: JSON values."""
        return {
            "answers": {str(page): answers for page, answers in sorted(self._answers.items())},
            "clamp_checked": self._is_clamp_checked,
            "raised": self._is_raised,
            "looked_behind": self._looked_behind,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take in what `state` gave an earlier run, before its pages are restored."""
        self._answers.update((int(page), int(answers)) for page, answers in state.get("answers", {}).items())
        self._is_clamp_checked = bool(state.get("clamp_checked"))
        self._is_raised = bool(state.get("raised"))
        self._looked_behind = state.get("looked_behind")

    def count(self, page: int) -> int | None:
        """How many records came back on `page`, None while it has not."""
        return self._counts.get(page)

    def wants_certainty(self, page: int) -> bool:
        """Whether a page is to be asked for so that only this request can be answered: an answer decides something."""
        last = self._last
        return page in self._counts or (page == last + 1 and self._empty_answers_needed(last) == 1)

    def was_asked_again(self, page: int) -> bool:
        """Whether more than one answer came for a page."""
        return page in self._answers

    def keeps(self, page: int, records: int) -> bool:
        """Whether an answer is to be stored: the first for a page, and a later one that holds more."""
        before = self._counts.get(page)
        return before is None or (records > before and page > self._settled)

    def count_by_position(self, *, by_position: bool) -> None:
        """Whether pages are asked for by position, where that was found out only after the plan was made."""
        self._by_position = by_position

    def is_last_open(self) -> bool:
        """Whether the last page seen, asked for by position, is short, which one answer tells."""
        last = self._last
        return self._by_position and last > 0 and not self._is_full(last) and last not in self._answers

    def expect(self, records: int) -> None:
        """An earlier sweep over the same records found so many."""
        self._known = replace(self._known, records=records)

    def may_end_before(self, page: int) -> bool:
        """Whether a status that says that there is no such page can be the end: not at the first page, nor before one
        that holds records."""
        return page > 1 and page > self._last >= 1

    def forget_statuses(self) -> None:
        """A page that held records is answered with such a status, too: none of them says anything."""
        for page in self._by_status:
            self._forget(page)
        self._by_status.clear()
        self._read_again = None
        self._first_empty_after = self._nearest_empty(self._last)

    def repeats(self, page: int) -> None:
        """`page`, which came back, turned out to hold nothing but what an earlier page holds: it counts as empty."""
        count = self._counts[page]
        if not count:
            return
        self._records -= count
        self._pages -= 1
        self._leave_length(page, count)
        self._counts[page] = 0
        self._empty.add(page)
        if page == self._last:
            self._last = max((one for one, count in self._counts.items() if count), default=0)
            self._doubted.discard(self._last)
        self._first_empty_after = self._nearest_empty(self._last)
        self._judge(page)

    def _add(self, page: int, records: int, *, is_certain: bool = True) -> None:
        """Take in an answer, the first for its page or another one."""
        before = self._counts.get(page)
        self._by_status.discard(page)
        if before is not None:
            self._answers[page] = self._answers.get(page, 1) + 1
            if page == self._last:
                self._read_again = page
            if records == before and 0 < records < self._asked and page < self._last and self._may_be_clamp(records):
                self._clamps.add(records)
                self._judge_all(self._of_length.get(records, ()))
            if page == self._cut_short:
                self._cut_short = None
                if records <= before:
                    self._clamps.add(before)
            if self.end is not None and page == self._cut_page():
                self._is_clamp_checked = True
        if before is not None and records > before and page <= self._settled:
            self._is_raised = True
        elif before is None or records > before:
            self._enter(page, records)
        if is_certain and not self._counts[page] and page == self._last + 1:
            self._empty_since = self._last
        self._judge(page)

    def _add_status(self, page: int, *, is_certain: bool = True) -> None:
        """Take in a status that stands for an empty page."""
        if page in self._counts:
            self._answers[page] = self._answers.get(page, 1) + 1
        else:
            self._enter(page, 0)
        self._by_status.add(page)
        if is_certain and page == self._last + 1:
            self._empty_since = self._last
        if page == self._last + 1 and self._read_again == self._last:
            self._sealed = self._last

    def _forget(self, page: int) -> None:
        """What was taken for an answer for a page was none."""
        self._empty.discard(page)
        del self._counts[page]
        self._answers.pop(page, None)

    def _empty_answers_needed(self, last: int) -> int:
        """How often the page behind `last` has to come back empty."""
        if not last:
            return 1 if self._known.records == 0 else 2
        length = self._counts[last]
        if self._is_full(last):
            return 2
        found = (last - 1) * self.page_size + length
        is_believed = not self._proves_end and self._known.believes(asked=self._asked, length=length, found=found)
        return 0 if is_believed else 1

    def _needs_reading_again(self, last: int) -> bool:
        return last > 0 and (self._is_full(last) or is_round(self._counts[last], self._asked))

    def _is_full(self, page: int) -> bool:
        length = self._counts.get(page, 0)
        size = self._asked if page == 1 or not self._by_position else self.page_size
        return length >= size or (length > 0 and (length in self._clamps or length == self._known.clamp))

    def _enter(self, page: int, records: int) -> None:
        """Count an answer that is the first for its page, or longer than the one before."""
        before = self._counts.get(page, 0)
        self._counts[page] = records
        self._records += records - before
        self._pages += (records > 0) - (before > 0)
        self._longest = max(self._longest, records)
        if before:
            self._leave_length(page, before)
        if not records:
            self._empty.add(page)
            if page > self._last:
                nearest = self._first_empty_after
                self._first_empty_after = page if nearest is None else min(page, nearest)
            return
        self._empty.discard(page)
        if records < self._asked:
            alike = self._of_length.setdefault(records, set())
            alike.add(page)
            if len(alike) > 1 and self._may_be_clamp(records):
                self._clamps.add(records)
                self._judge_all(alike)
        if page > self._last:
            passed, self._last = self._last, page
            if passed:
                self._judge(passed)
            self._pass_by_empty_pages(page)
        elif self._first_empty_after == page:
            self._first_empty_after = self._nearest_empty(self._last)

    def _cut_page(self) -> int | None:
        """A page that was cut, to be asked for once more at the end: the service may cut at another length by then.

        Records between two pages would not have been shown then. None where that is known of the service.
        """
        if not self._clamps or self._by_position or self._known.clamp in self._clamps:
            return None
        return min(self._of_length.get(min(self._clamps), ()), default=None)

    def _may_be_clamp(self, length: int) -> bool:
        """Whether equal lengths say that pages are cut: not where there are longer ones, unless it is a usual cap."""
        often = self._by_position and len(self._of_length.get(length, ())) >= _OFTEN
        return length >= self._longest or is_round(length, self._asked) or often

    def _pass_by_empty_pages(self, last: int) -> None:
        for page in [page for page in self._empty if page < last]:
            if page in self._by_status:
                # Not an end, then: it was no answer at all.
                self._by_status.discard(page)
                self._forget(page)
            else:
                self._judge(page)
        self._first_empty_after = self._nearest_empty(last)

    def _leave_length(self, page: int, length: int) -> None:
        if length < self._asked:
            self._of_length[length].discard(page)

    def _judge(self, page: int) -> None:
        """Note whether a page has to be asked for again: a later one holds records, and one answer was short."""
        is_open = page in self._counts and page < self._last and page not in self._answers and not self._is_full(page)
        if is_open and page > self._settled:
            self._doubted.add(page)
        else:
            self._doubted.discard(page)
            if page < self._last and self._counts.get(page, 0) == self._known.clamp:
                self._clamps.add(self._counts[page])

    def _judge_all(self, pages: Iterable[int]) -> None:
        for page in list(pages):
            self._judge(page)

    def _nearest_empty(self, page: int) -> int | None:
        return min((empty for empty in self._empty if empty > page), default=None)
