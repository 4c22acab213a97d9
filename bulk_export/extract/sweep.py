"""One pass over one endpoint: the URLs of its pages, and the checks of the responses.

The planner (`plan`) decides which page is worth requesting. The sweep turns pages into URLs, and compares the records
of a response with those of other pages before the planner counts it: a page that repeats another one does not exist, or
is a sign of trouble.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, PageKey
from bulk_export.core.text import counted
from bulk_export.extract.page_evidence import NOTHING_KNOWN
from bulk_export.extract.page_numbering import NO_SUCH_PAGE, PageNumbering, page_target
from bulk_export.extract.pagination import PagePlanner, planner_for
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.repeated_pages import MOST_PAGES, RepeatedPages, endless_list, ignored_page_number
from bulk_export.extract.storing_turns import StoringTurns
from bulk_export.transform.decode import RecordShaper, content_of


class Sweep:
    """The pages of one endpoint, from the first to the last.

    Args:
        endpoint: The endpoint, numbered as described; `numbering.endpoint` has the numbering that was found.
        number: 0 for the first sweep of a run, which is parallel; further ones read one page after the other.
        page_size: The number of records to request per page; lowered to the largest page of the endpoint.
        stride: The largest number of pages that a probe leaps: see `PagePlanner`.
        filters: Pairs of a filter's name and value.
        proves_end: Whether an empty page has to follow the last one, even if that is shorter than requested.
        known: What earlier sweeps found out about the endpoint.
        empty_is_enough: Whether one empty response proves an empty list, since the same list is requested again later.
        plan: Decides which pages are requested; by default, all pages of the list.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        number: int,
        page_size: int,
        stride: int,
        filters: Sequence[tuple[str, str]],
        proves_end: bool = False,
        known: PagingFacts = NOTHING_KNOWN,
        empty_is_enough: bool = False,
        plan: PagePlanner | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.number = number
        self.page_size = page_size = min(page_size, endpoint.paging.largest or page_size)
        self.shaper = RecordShaper(endpoint)
        self.numbering: PageNumbering[Any] = PageNumbering(endpoint, known)
        self.proves_end = proves_end
        # Pages beyond it are left for later; None for no bound.
        self.horizon: int | None = None
        self.longest_beyond: int = 0  # the longest page with more records than requested
        # Whether a response belonged to another page: when it was requested again, the page held other records.
        self.has_stray_answers = False
        # Whether connections brought responses that belonged to other requests.
        self.may_be_answered_wrongly = False
        self._filters, self._known, self.turns = filters, known, StoringTurns()
        self.plan = plan or planner_for(
            self.numbering.endpoint.paging.style,
            page_size,
            stride,
            known if not filters else replace(known, records=0 if empty_is_enough else None),
            proves_end=proves_end,
        )
        self._repetitions = RepeatedPages(endpoint, self.shaper)
        # Records stored for pages that count as empty, since they repeat another one.
        self._stored_though_empty: dict[int, int] = {}
        self._only_first_page = self._was_suspicious = False
        # Pages that are requested again, because the page behind the last one repeats them.
        self._verifying: set[int] = set()
        # Pages that were requested by the position right behind the last record seen.
        self._behind: set[int] = set()
        self._last_state: tuple[dict[str, Any], str] = ({}, "")  # its text is only written anew if it changed

    def again(self, number: int, page_size: int, *, proves_end: bool = False) -> Sweep:
        """Return a further sweep over the same records, one page after the other."""
        known = self.learned() if self.plan.end is not None else self._known
        sweep = Sweep(
            self.numbering.endpoint,
            number=number,
            page_size=page_size,
            stride=1,
            filters=self._filters,
            proves_end=proves_end,
            known=known,
        )
        if self.plan.end is not None:
            sweep.plan.expect(self.plan.records)
        return sweep

    def key(self, page: int) -> PageKey:
        """Return the name of a page of this sweep."""
        return PageKey(self.endpoint.name, self.number, page)

    @property
    def is_paged(self) -> bool:
        """Whether more than one request may be needed."""
        return self.endpoint.paging.style != "none"

    def target(self, page: int) -> str:
        """Return path and query for a request for a page now."""
        endpoint = self.numbering.endpoint_to_request()
        self._behind.discard(page)
        if endpoint.paging.style != "offset" or page == 1:
            return page_target(endpoint, page, self.page_size, self._filters)
        # By position, every page has to begin where the one before ends; by number, the service cuts.
        size = self.plan.page_size
        position = (page - 1) * size
        last = self.plan.known_pages
        if page == last + 1 and self.plan.is_last_open():
            # The last page may have been cut, so the record right behind it is requested.
            position = (last - 1) * size + (self.plan.count(last) or 0)
            self._behind.add(page)
        return page_target(endpoint, page, size, self._filters, position=position)

    def needs_new_connection(self, page: int) -> bool:
        """Whether a page has to be requested on a new connection, because much depends on the response."""
        return self.number > 0 or self.numbering.is_open or self.plan.needs_certainty(page)

    def says_no_such_page(self, page: int, status: int) -> bool:
        """Whether a status may mean that the page does not exist, as for a page behind the last one with records.

        For an earlier page it means that the service is in trouble. Then earlier statuses may have meant the same, so
        the planner forgets them.
        """
        if status not in NO_SUCH_PAGE or page == 1 or not self.is_paged:
            return False
        if self.plan.may_end_before(page):
            return True
        self.plan.forget_statuses()
        return False

    def is_known_page(self, page: int, status: int) -> bool:
        """Whether a status says that a page does not exist, although it is known to hold records."""
        return status in NO_SUCH_PAGE and 1 <= page <= self.plan.known_pages and self.plan.pages > 0

    def should_store(self, page: int, records: Sequence[bytes]) -> bool:
        """Whether a response is to be stored.

        Raises:
            ServiceFailing: The list has no end, or the service shows one full page for every number.
        """
        if page > MOST_PAGES:
            raise endless_list(self.endpoint.name, page)
        if not self.is_paged:
            return True
        content = content_of(records)
        first = self._repetitions.page_with(content, page) if records else page
        looks_on = self._repetitions.may_be_coincidence(page) and self.plan.count(page + 1) is None
        if first == 1 and page in self._repetitions and self._has_one_full_page() and not looks_on:
            raise ignored_page_number(self.endpoint.name, page)
        if records and page in self._behind and first == page:
            return False
        return self.plan.keeps(page, 0 if first < page and not self._is_confirmed(page, content) else len(records))

    def record_response(self, page: int, records: Sequence[bytes], *, is_certain: bool = True) -> bool:
        """Record that a page was stored, or arrived and need not be stored.

        Args:
            page: The page that was requested.
            records: The records that came.
            is_certain: False if the response may belong to another request.

        Returns:
            Whether the page repeats the first one, so that the first page counts as the only one from now on.
        """
        is_only = self._record(page, records, is_certain=is_certain)
        self._verify_end()
        return is_only

    def record_no_such_page(self, page: int, *, is_certain: bool = True) -> None:
        """Record a status which means that the page does not exist."""
        self.plan.record_no_such_page(page, is_certain=is_certain)
        self._note_nothing_behind(page)

    def apply_numbering(self) -> None:
        """Pass the numbering, which may just have been found, on to the planner."""
        self.plan.count_by_position(by_position=self.numbering.endpoint.paging.style == "offset")

    def learned(self) -> PagingFacts:
        """Return the facts about the endpoint after a complete sweep. Nothing is learned from a single page."""
        if self._only_first_page:
            return self.numbering.learned(self._known)
        facts = self.plan.learned(unfiltered=not self._filters)
        if facts.records is None:
            facts = replace(facts, records=self._known.records)
        return self.numbering.learned(facts)

    def warnings(self) -> list[str]:
        """Return warnings about how the service paged the list, which users see with every display."""
        name, plan, asked = self.endpoint.name, self.plan, f"where {self.page_size:,} were asked for"
        records, warnings = counted(plan.records, "record"), []
        if plan.clamp is not None:
            given = counted(plan.clamp, "record")
            warnings.append(f"{name}: the service gives {given} at once {asked}; all pages were read by that.")
        if self.longest_beyond:
            warnings.append(f"{name}: the service gave up to {counted(self.longest_beyond, 'record')} at once {asked}.")
        if self.has_suspicious_end and plan.ends_at_usual_cap:
            warnings.append(
                f"{name}: all {records} came on one page {asked}, and many services give so many at most;"
                " compare that with the service."
            )
        elif self.has_suspicious_end:
            warnings.append(
                f"{name}: the list may go on behind page {plan.end}, where the service says that it ends"
                f" ({records}); compare that with the service, or export it again."
            )
        return warnings

    @property
    def has_suspicious_end(self) -> bool:
        """Whether the end is in an unexpected place, although it is proven."""
        if self.plan.is_concluded:
            return self._was_suspicious
        behind = (self.plan.end or 0) + 1
        may_be_page = behind in self._repetitions and self._repetitions.may_be_coincidence(behind)
        return self._only_first_page or may_be_page or self.plan.has_suspicious_end

    @property
    def is_to_be_read_again(self) -> bool:
        """Whether there may be records that no page showed, so that another sweep is needed.

        Some pages were cut and others were not, a response belonged to another page, or two pages showed the same.
        """
        return self.plan.is_mixed or self.has_stray_answers or self.repeated_pages > 0

    @property
    def repeated_pages(self) -> int:
        """The number of pages before the last one that repeat another page."""
        return sum(page < self.plan.known_pages for page in self._repetitions)

    def stored(self, page: int) -> int:
        """Return how many records are stored for a page, even if it counts as empty because it repeats another one."""
        return self._stored_though_empty.get(page) or self.plan.count(page) or 0

    def state(self) -> str:
        """Return what a later run needs besides the stored pages, as text for `parse_sweep_state`."""
        state = {
            "plan": self.plan.state(),
            "only_first_page": self._only_first_page,
            "suspicious_end": self.has_suspicious_end,
            "stray_answers": self.has_stray_answers,
        } | self.numbering.state()
        if state != self._last_state[0]:
            self._last_state = state, json.dumps(state)
        return self._last_state[1]

    def restore(
        self,
        counts: Iterable[tuple[int, int]],
        bodies: Callable[[Iterable[PageKey]], Iterable[bytes]],
        *,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Continue from the pages that an earlier run stored; `counts` has pairs of a page and its number of records.

        `bodies` yields stored bodies, and `state` is what `parse_sweep_state` made of the last `state` of that run.
        """
        facts = state or {}
        self.numbering.restore(facts)
        self.apply_numbering()
        self.plan.resume(facts.get("plan", {}))
        self._only_first_page = bool(facts.get("only_first_page"))
        self._was_suspicious = bool(facts.get("suspicious_end"))
        self.has_stray_answers = bool(facts.get("stray_answers"))
        pairs = list(counts)
        full = [(page, count) for page, count in pairs if count and self.is_paged]
        for (page, count), body in zip(full, bodies(self.key(page) for page, _ in full), strict=True):
            self._restore_content(page, count, self.shaper.split(body))
        last = max((page for page, records in pairs if records and page not in self._repetitions), default=0)
        for page, records in pairs:
            if page not in self._repetitions:
                self.plan.record_response(page, records)
            elif self.has_stray_answers:
                # The stored response may belong to another page, so this page is requested again.
                self.plan.disregard(page)
                self._repetitions.discard(page)
            else:
                holds_it = page < last and self.plan.was_asked_again(page)
                self.plan.record_response(page, records if holds_it else 0)

    def _restore_content(self, page: int, count: int, records: Sequence[bytes]) -> None:
        content = content_of(records)
        if self._repetitions.page_with(content, page) != page:
            self._repetitions.add(page, content, records)
            self._stored_though_empty[page] = count
            return
        self._repetitions.enter(content, page)
        if count > self.page_size:
            self.longest_beyond = max(self.longest_beyond, count)

    def _record(self, page: int, records: Sequence[bytes], *, is_certain: bool) -> bool:
        # 1. It has no records, or the endpoint has no pages: there is nothing to compare.
        if not records or not self.is_paged:
            self.has_stray_answers |= page in self._verifying
            if self.plan.count(page) is None:
                self._stored_though_empty.pop(page, None)
            self.plan.record_response(page, len(records), is_certain=is_certain)
            self._note_nothing_behind(page)
            return False
        content = content_of(records)
        first = self._repetitions.page_with(content, page)
        # 2. It was requested by the position right behind the last record, and has new records: the last page was cut.
        if page in self._behind and first == page:
            self.plan.doubt_last(page)
            return False
        if page in self._verifying and not self._repetitions.has_seen(content):
            self.has_stray_answers = True
        # 3. It repeats an earlier page.
        if first < page:
            return self._record_repetition(page, first, content, records, is_certain=is_certain)
        # 4. It repeats no earlier page.
        self._record_page(page, first, content, records)
        return False

    def _record_repetition(
        self, page: int, first: int, content: int, records: Sequence[bytes], *, is_certain: bool
    ) -> bool:
        """Record a page that repeats the page `first`. Return whether that is the only page there is."""
        # It did so before, and a later page holds records: so both pages really hold the same.
        if self._is_confirmed(page, content):
            self.plan.record_response(page, len(records))
            return False
        # The stored page is kept: one of both responses belongs to another request.
        if self.plan.count(page):
            self.has_stray_answers = True
            self.plan.record_response(page, 0)
            return False
        self._repetitions.add(page, content, records)
        if self.plan.count(page) is None or page not in self._stored_though_empty:
            self._stored_though_empty[page] = len(records)
        self.has_stray_answers |= self.may_be_answered_wrongly
        # It counts as empty until a different page is seen behind it.
        self.plan.record_response(page, 0, is_certain=is_certain)
        self._note_nothing_behind(page)
        is_new = page > self.plan.known_pages and self.plan.count(page + 1) is None
        if is_new and self._repetitions.may_be_coincidence(page) and not self._repetitions.repeats(page - 1, content):
            # Without ids, two pages may hold equal records, but hardly two in a row.
            self.plan.read_again(page + 1)
        self._only_first_page = first == 1 and self.plan.pages == 1
        return self._only_first_page and not self._has_one_full_page() and self.plan.end == 1

    def _record_page(self, page: int, first: int, content: int, records: Sequence[bytes]) -> None:
        """Record a page that repeats no earlier one. If `first` is a later page, that page repeats this one."""
        self._only_first_page = False
        self.has_stray_answers |= page in self._repetitions
        self._repetitions.discard(page)
        if not self.plan.keeps(page, len(records)):
            self.plan.record_response(page, len(records))
            return
        self.longest_beyond = max(self.longest_beyond, len(records) if len(records) > self.page_size else 0)
        if self.plan.count(page):
            for doubtful in self._repetitions.replace(page, content):
                self.has_stray_answers = True
                self.plan.ask_anew(doubtful)
        self._stored_though_empty.pop(page, None)
        self._repetitions.enter(content, page)
        if first > page:
            self._repetitions.add(first, content, records)
            self._stored_though_empty[first] = self.stored(first)
            self.plan.repeats(first)
        for passed in (other for other in self._repetitions if self.plan.known_pages < other < page):
            # The list does not end there, so it may really hold the same as another page.
            self.plan.read_again(passed)
        self.plan.record_response(page, len(records))

    def _is_confirmed(self, page: int, content: int) -> bool:
        """Whether a page before the last one repeats an earlier one for the second time: then both hold the same."""
        return page < self.plan.known_pages and self._repetitions.repeats(page, content)

    def _verify_end(self) -> None:
        """If the page behind the last one repeats another page, have that page requested again.

        Its stored response may in fact belong to the request for the page that repeats it.
        """
        end = self.plan.end
        if end is None or self._only_first_page or end + 1 not in self._repetitions:
            return
        repeated = self._repetitions.repeated_by(end + 1)
        if repeated is not None and repeated not in self._verifying:
            self._verifying.add(repeated)
            self.plan.read_again(repeated)

    def _note_nothing_behind(self, page: int) -> None:
        if page in self._behind:
            self.plan.record_nothing_behind(page)

    def _has_one_full_page(self) -> bool:
        """Whether only one page was seen, and it is full: if it comes again, the service ignores the page number."""
        return self.plan.pages == 1 and (self.plan.count(1) or 0) >= self.page_size
