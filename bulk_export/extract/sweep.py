"""One pass over one endpoint: what is requested, what came back, and what is wrong with it.

The planner (`plan`) decides which page is worth requesting. The sweep turns pages into URLs, and looks at the records
of a response before the planner counts it: a page that repeats another one is no page, or a sign of trouble.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, PageKey
from bulk_export.extract.page_evidence import NOTHING_KNOWN
from bulk_export.extract.page_numbering import NO_SUCH_PAGE, PageNumbering, page_target
from bulk_export.extract.pagination import planner_for
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.repeated_pages import MOST_PAGES, RepeatedPages, endless_list, ignored_page_number
from bulk_export.transform.decode import RecordShaper, content_of


class Sweep:
    """The pages of one endpoint, from the first to the last.

    Args:
        endpoint: What is read. `endpoint` has the numbering of the description, `numbering.endpoint` the one found out.
        number: 0 for the first sweep of a run, which is parallel; further ones read one page after the other.
        page_size: The number of records to ask for per page; never more than the service gives.
        stride: How far ahead of the last page seen the end is looked for: see `PagePlanner`.
        filters: Pairs of a filter's name and value.
        proves_end: Whether a page shorter than asked for is never taken for the last one: an empty one has to follow.
        known: What earlier sweeps found out about the endpoint.
        empty_is_enough: Whether one response without records is believed, since the same is requested again later.
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
    ) -> None:
        page_size = min(page_size, endpoint.paging.largest or page_size)
        self.endpoint = endpoint
        self.number = number
        self.page_size = page_size
        self.shaper = RecordShaper(endpoint)
        self.numbering: PageNumbering[Any] = PageNumbering(endpoint, known)
        self.proves_end = proves_end
        # Pages beyond it are left for later; None for no bound.
        self.horizon: int | None = None
        # The longest page, where it holds more records than were asked for.
        self.longest_beyond: int = 0
        # Whether a response was that to another page: requested again, the page held something else.
        self.has_stray_answers = False
        # Whether connections brought responses that were not those to the requests before them.
        self.may_be_answered_wrongly = False
        self._filters = filters
        self._known = known
        records = 0 if empty_is_enough else None
        self.plan = planner_for(
            self.numbering.endpoint.paging.style,
            page_size,
            stride,
            known if not filters else replace(known, records=records),
            proves_end=proves_end,
        )
        self._repetitions = RepeatedPages(endpoint, self.shaper)
        # How many records are stored for pages that count as empty, since they repeat another one.
        self._stored_though_empty: dict[int, int] = {}
        self._only_first_page = False
        self._was_suspicious = False
        # Pages that are read again since the page behind the last one repeats them.
        self._verifying: set[int] = set()
        # Pages that were requested by the position right behind the last record seen.
        self._behind: set[int] = set()

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
        """Return path and query that request a page now."""
        endpoint = self.numbering.endpoint_to_request()
        self._behind.discard(page)
        if endpoint.paging.style != "offset" or page == 1:
            return page_target(endpoint, page, self.page_size, self._filters)
        # By position, every page has to begin where the one before ends; by number, the service cuts.
        size = self.plan.page_size
        position = (page - 1) * size
        last = self.plan.known_pages
        if page == last + 1 and self.plan.is_last_open():
            # The last page may have been cut, so what is requested is the record behind it.
            position = (last - 1) * size + (self.plan.count(last) or 0)
            self._behind.add(page)
        return page_target(endpoint, page, size, self._filters, position=position)

    def needs_new_connection(self, page: int) -> bool:
        """Whether a page is to be requested on a connection of its own, since much depends on the response."""
        return self.number > 0 or self.numbering.is_open or self.plan.needs_certainty(page)

    def says_no_such_page(self, page: int, status: int) -> bool:
        """Whether a status may mean that there is no such page, behind the last one that holds records.

        In front of it, it means that the service is out of order for a while, and so did the same statuses before: the
        planner forgets those.
        """
        if status not in NO_SUCH_PAGE or page == 1 or not self.is_paged:
            return False
        if self.plan.may_end_before(page):
            return True
        self.plan.forget_statuses()
        return False

    def is_known_page(self, page: int, status: int) -> bool:
        """Whether a status denies that there is such a page, although the page is known to hold records."""
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
        """Record that a page is durable, or came and is not to be stored.

        Args:
            page: The page that was requested.
            records: The records that came.
            is_certain: False if it may have been the answer to another request.

        Returns:
            Whether the page only repeats the first one, which is taken for the only page from then on.
        """
        is_only = self._record(page, records, is_certain=is_certain)
        self._verify_end()
        return is_only

    def record_no_such_page(self, page: int, *, is_certain: bool = True) -> None:
        """Record that a status said that there is no such page."""
        self.plan.record_no_such_page(page, is_certain=is_certain)
        self._note_nothing_behind(page)

    def apply_numbering(self) -> None:
        """Tell the planner how pages are numbered, which may have been found out just now."""
        self.plan.count_by_position(by_position=self.numbering.endpoint.paging.style == "offset")

    def learned(self) -> PagingFacts:
        """Return what is known of the endpoint after a complete sweep: nothing new if only one page was ever seen."""
        if self._only_first_page:
            return self.numbering.learned(self._known)
        facts = self.plan.learned(unfiltered=not self._filters)
        if facts.records is None:
            facts = replace(facts, records=self._known.records)
        return self.numbering.learned(facts)

    def warnings(self) -> list[str]:
        """Return what a user has to know of how the service paged, whatever else is shown."""
        name, plan, asked = self.endpoint.name, self.plan, f"where {self.page_size} were asked for"
        warnings = []
        if plan.clamp is not None:
            warnings.append(
                f"{name}: the service gives {plan.clamp} records at once {asked}; all pages were read by that."
            )
        if self.longest_beyond:
            warnings.append(f"{name}: the service gave up to {self.longest_beyond} records at once {asked}.")
        if self.has_suspicious_end and plan.ends_at_usual_cap:
            warnings.append(
                f"{name}: all {plan.records} records came on one page {asked}, and many services give so many at most;"
                " compare that with the service."
            )
        elif self.has_suspicious_end:
            warnings.append(
                f"{name}: the list may go on behind page {plan.end}, where the service says that it ends"
                f" ({plan.records} records); compare that with the service, or export it again."
            )
        return warnings

    @property
    def has_suspicious_end(self) -> bool:
        """Whether the end is where one would not expect it, although every rule for it was kept."""
        if self.plan.is_concluded:
            return self._was_suspicious
        behind = (self.plan.end or 0) + 1
        may_be_page = behind in self._repetitions and self._repetitions.may_be_coincidence(behind)
        return self._only_first_page or may_be_page or self.plan.has_suspicious_end

    @property
    def is_to_be_read_again(self) -> bool:
        """Whether there may be records that no page showed.

        Some pages were cut and others not, responses strayed, or a page in the middle showed what another one did.
        """
        return self.plan.is_mixed or self.has_stray_answers or self.repeated_pages > 0

    @property
    def repeated_pages(self) -> int:
        """How many pages in the middle show what another one does."""
        return sum(page < self.plan.known_pages for page in self._repetitions)

    def stored(self, page: int) -> int:
        """Return how many records are stored for a page, also where it counts as empty, since it repeats another."""
        return self._stored_though_empty.get(page) or self.plan.count(page) or 0

    def state(self) -> str:
        """Return what a later run has to know besides the stored pages, as text for `parse_sweep_state`."""
        state = {
            "plan": self.plan.state(),
            "only_first_page": self._only_first_page,
            "suspicious_end": self.has_suspicious_end,
            "stray_answers": self.has_stray_answers,
        }
        return json.dumps(state | self.numbering.state())

    def restore(
        self,
        counts: Iterable[tuple[int, int]],
        body: Callable[[PageKey], bytes],
        *,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Go on from the pages that an earlier run stored, given with the number of records of each.

        `body` returns a stored body, and `state` is what `parse_sweep_state` made of the last `state` of that run.
        """
        facts = state or {}
        self.numbering.restore(facts)
        self.apply_numbering()
        self.plan.resume(facts.get("plan", {}))
        self._only_first_page = bool(facts.get("only_first_page"))
        self._was_suspicious = bool(facts.get("suspicious_end"))
        self.has_stray_answers = bool(facts.get("stray_answers"))
        pairs = list(counts)
        for page, records in pairs:
            if self.is_paged and records:
                self._restore_content(page, records, self.shaper.split(body(self.key(page))))
        last = max((page for page, records in pairs if records and page not in self._repetitions), default=0)
        for page, records in pairs:
            if page not in self._repetitions:
                self.plan.record_response(page, records)
            elif self.has_stray_answers:
                # It may be the answer to another page, so this one is requested anew.
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
        # 1. Nothing came, or everything at once: there is nothing to compare.
        if not records or not self.is_paged:
            self.has_stray_answers |= page in self._verifying
            if self.plan.count(page) is None:
                self._stored_though_empty.pop(page, None)
            self.plan.record_response(page, len(records), is_certain=is_certain)
            self._note_nothing_behind(page)
            return False
        content = content_of(records)
        first = self._repetitions.page_with(content, page)
        # 2. Requested by the position right behind the last record, new records came: the last page was cut.
        if page in self._behind and first == page:
            self.plan.doubt_last(page)
            return False
        if page in self._verifying and not self._repetitions.has_seen(content):
            self.has_stray_answers = True
        # 3. It repeats an earlier page.
        if first < page:
            return self._record_repetition(page, first, content, records, is_certain=is_certain)
        # 4. It is a page of its own.
        self._record_page(page, first, content, records)
        return False

    def _record_repetition(
        self, page: int, first: int, content: int, records: Sequence[bytes], *, is_certain: bool
    ) -> bool:
        """Record a page that repeats the page `first`. Return whether that is the only page there is."""
        # It did so before, and a later page holds records: it does hold them.
        if self._is_confirmed(page, content):
            self.plan.record_response(page, len(records))
            return False
        # What is stored for it stays: one of both responses was that to another request.
        if self.plan.count(page):
            self.has_stray_answers = True
            self.plan.record_response(page, 0)
            return False
        self._repetitions.add(page, content, records)
        if self.plan.count(page) is None or page not in self._stored_though_empty:
            self._stored_though_empty[page] = len(records)
        self.has_stray_answers |= self.may_be_answered_wrongly
        # Until another page is seen behind it, it counts as empty.
        self.plan.record_response(page, 0, is_certain=is_certain)
        self._note_nothing_behind(page)
        is_new = page > self.plan.known_pages and self.plan.count(page + 1) is None
        if is_new and self._repetitions.may_be_coincidence(page) and not self._repetitions.repeats(page - 1, content):
            # Without ids another page may well hold the same records, but not two in a row.
            self.plan.read_again(page + 1)
        self._only_first_page = first == 1 and self.plan.pages == 1
        return self._only_first_page and not self._has_one_full_page() and self.plan.end == 1

    def _record_page(self, page: int, first: int, content: int, records: Sequence[bytes]) -> None:
        """Record a page that holds what no earlier one does; a later page `first` may be found to repeat it."""
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
            # It was no end, so it may hold the same as another page.
            self.plan.read_again(passed)
        self.plan.record_response(page, len(records))

    def _is_confirmed(self, page: int, content: int) -> bool:
        """Whether a page in the middle shows the content of an earlier one for the second time: then it holds that."""
        return page < self.plan.known_pages and self._repetitions.repeats(page, content)

    def _verify_end(self) -> None:
        """Where the page behind the last one repeats another, have that one read again.

        What is stored for it may in truth have been the answer to the page that repeats it.
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
        """Whether only one page was seen, and it is full: its repetition means that the page number is ignored."""
        return self.plan.pages == 1 and (self.plan.count(1) or 0) >= self.page_size
