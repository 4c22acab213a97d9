"""One pass over one endpoint: its plan, what is asked of the service, and what came back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, PageKey
from bulk_export.errors import ServiceFailing
from bulk_export.extract.first_page import NO_SUCH_PAGE, FirstPage, content_of
from bulk_export.extract.page_target import page_target
from bulk_export.extract.pagination import plan_of
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.transform.decode import Decoder, InvalidPage, RecordShaper

# Far beyond any real endpoint: it ends a service that makes up new records for ever.
_MOST_PAGES = 5_000_000
_NOTHING_KNOWN = PagingFacts()


class Sweep:
    """The pages of `endpoint` with `page_size` records each, filtered. `number` is 0 for the first pass.

    If it `proves_end`, a page shorter than asked for is not taken for the last one: an empty one has to follow.
    `known` is what earlier sweeps found out about the endpoint. With `empty_is_enough`, one answer without records is
    believed: where nothing is lost by it, since the same is asked for again the next time.
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
        known: PagingFacts = _NOTHING_KNOWN,
        empty_is_enough: bool = False,
    ) -> None:
        largest = endpoint.paging.largest
        page_size = min(page_size, largest or page_size)
        self.endpoint = endpoint
        self.number = number
        self.page_size = page_size
        self.arrangement = RecordShaper(endpoint)
        self.first_page: FirstPage[Any] = FirstPage(endpoint, known)
        self.horizon: int | None = None
        # The longest page, where it holds more records than were asked for.
        self.longest_beyond: int = 0
        self._filters = filters
        self._known = known
        records = 0 if empty_is_enough else None
        self.plan = plan_of(
            self.first_page.endpoint.paging.style,
            page_size,
            stride,
            known if not filters else replace(known, records=records),
            proves_end=proves_end,
        )
        self.proves_end = proves_end
        self._first_seen: dict[int, int] = {}
        # Pages that repeat an earlier one, and the content of both.
        self._repeating: dict[int, int] = {}
        # Those of them with records that nothing identifies: another page may hold the same.
        self._unidentified: set[int] = set()
        # How many records are stored for pages that count as empty, since they repeat another one.
        self._held: dict[int, int] = {}
        self._only_first_page = False
        self._was_suspicious = False
        # Whether an answer was that to another page: asked for again, the page held something else.
        self.has_stray_answers = False
        # Whether connections brought answers that were not those to the requests before them.
        self.may_be_answered_wrongly = False
        self._verifying: set[int] = set()
        # Pages that were asked for by the position right behind the last record seen.
        self._behind: set[int] = set()

    def again(self, number: int, page_size: int, *, proves_end: bool = False) -> Sweep:
        """A further pass over the same records, one page after the other."""
        known = self.learned() if self.plan.end is not None else self._known
        sweep = Sweep(
            self.first_page.endpoint,
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
        """The name of a page of this sweep."""
        return PageKey(self.endpoint.name, self.number, page)

    def target(self, page: int) -> str:
        """Path and query that ask for a page now."""
        endpoint = self.first_page.asked()
        self._behind.discard(page)
        if endpoint.paging.style != "offset" or page == 1:
            return page_target(endpoint, page, self.page_size, self._filters)
        # By position, every page has to begin where the one before ends; by number, the service cuts.
        size = self.plan.page_size
        position = (page - 1) * size
        last = self.plan.known_pages
        if page == last + 1 and self.plan.is_last_open():
            # The last page may have been cut, so what is asked for is the record behind it.
            position = (last - 1) * size + (self.plan.count(last) or 0)
            self._behind.add(page)
        return page_target(endpoint, page, size, self._filters, position=position)

    def learned(self) -> PagingFacts:
        """What is known of the endpoint now that it was read to its end: nothing new where no page but one was seen."""
        if self._only_first_page:
            return self.first_page.learned(self._known)
        found = self.plan.learned(unfiltered=not self._filters)
        if found.records is None:
            found = replace(found, records=self._known.records)
        return self.first_page.learned(found)

    @property
    def is_of_pages(self) -> bool:
        """Whether more than one request may be needed for it."""
        return self.endpoint.paging.style != "none"

    def warnings(self) -> list[str]:
        """What a user has to know of how the service paged, whatever else is shown."""
        name, plan = self.endpoint.name, self.plan
        found = []
        if plan.clamp is not None:
            found.append(
                f"{name}: the service gives {plan.clamp} records at once where {self.page_size} were asked for;"
                " all pages were read by that."
            )
        if self.longest_beyond:
            found.append(
                f"{name}: the service gave up to {self.longest_beyond} records at once where {self.page_size} were"
                " asked for."
            )
        if self.has_suspicious_end and plan.ends_at_usual_cap:
            found.append(
                f"{name}: all {plan.records} records came on one page where {self.page_size} were asked for, and many"
                " services give so many at most; compare that with the service."
            )
        elif self.has_suspicious_end:
            found.append(
                f"{name}: the list may go on behind page {plan.end}, where the service says that it ends"
                f" ({plan.records} records); compare that with the service, or export it again."
            )
        return found

    @property
    def has_suspicious_end(self) -> bool:
        """Whether the end is where one would not expect it, although every rule for it was kept."""
        if self.plan.is_concluded:
            return self._was_suspicious
        end = self.plan.end
        is_repetition = end is not None and end + 1 in self._unidentified & self._repeating.keys()
        return self._only_first_page or is_repetition or self.plan.has_suspicious_end

    @property
    def is_to_be_read_again(self) -> bool:
        """Whether there may be records that no page showed.

        Some pages were cut and others not, answers strayed, or a page in the middle showed what another one did.
        """
        return self.plan.is_mixed or self.has_stray_answers or self.repeated_pages > 0

    @property
    def repeated_pages(self) -> int:
        """How many pages in the middle show what another one does."""
        return sum(page < self.plan.known_pages for page in self._repeating)

    def restore(
        self,
        counts: Iterable[tuple[int, int]],
        body: Callable[[PageKey], bytes],
        *,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in `(page, records)` pairs that an earlier run stored; `body` gives what it stored, `state` is what
        `parse_state` makes of what `state` said last."""
        facts = state or {}
        self.first_page.restore(facts)
        self.counted()
        self.plan.resume(facts.get("plan", {}))
        self._only_first_page = bool(facts.get("only_first_page"))
        self._was_suspicious = bool(facts.get("suspicious_end"))
        self.has_stray_answers = bool(facts.get("stray_answers"))
        pairs = list(counts)
        for page, records in pairs:
            if self.is_of_pages and records:
                split = self.arrangement.split(body(self.key(page)))
                content = content_of(split)
                if self._first_seen.setdefault(content, page) != page:
                    self._note_repetition(page, content, split)
                    self._held[page] = records
                elif records > self.page_size:
                    self.longest_beyond = max(self.longest_beyond, records)
        last = max((page for page, records in pairs if records and page not in self._repeating), default=0)
        for page, records in pairs:
            if page not in self._repeating:
                self.plan.restore([(page, records)])
            elif self.has_stray_answers:
                # It may be the answer to another page, so this one is asked for anew.
                self.plan.disregard(page)
                del self._repeating[page]
            else:
                holds_it = page < last and self.plan.was_asked_again(page)
                self.plan.restore([(page, records if holds_it else 0)])

    def stored(self, page: int) -> int:
        """How many records are stored for a page, those of one that repeats another included."""
        return self._held.get(page) or self.plan.count(page) or 0

    def state(self) -> str:
        """What a later run has to know besides the stored pages."""
        found = {
            "plan": self.plan.state(),
            "only_first_page": self._only_first_page,
            "suspicious_end": self.has_suspicious_end,
            "stray_answers": self.has_stray_answers,
        }
        return json.dumps(found | self.first_page.state())

    def counted(self) -> None:
        """It may have been found out just now how pages are counted."""
        self.plan.count_by_position(by_position=self.first_page.endpoint.paging.style == "offset")

    def says_no_such_page(self, page: int, status: int) -> bool:
        """Whether a status may mean that there is no such page, behind the last one that holds records.

        In front of it, it means that the service is out of order for a while, and so did the same statuses before.
        """
        if status not in NO_SUCH_PAGE or page == 1 or self.endpoint.paging.style == "none":
            return False
        if self.plan.may_end_before(page):
            return True
        self.plan.forget_statuses()
        return False

    def is_out_of_order(self, page: int, status: int) -> bool:
        """Whether a status says that there is no such page, of a page that is known to hold records."""
        return status in NO_SUCH_PAGE and 1 <= page <= self.plan.known_pages and self.plan.pages > 0

    def inspect(self, page: int, records: Sequence[bytes]) -> bool:
        """Whether an answer is to be stored. Raise ServiceFailing where the service serves one page for ever."""
        if page > _MOST_PAGES:
            raise ServiceFailing(
                f"{self.endpoint.name} has no end: page {page} still holds records.",
                kept="Every page stored so far is kept.",
                next_step="Check the address of the service, or raise --page-size.",
            )
        if self.endpoint.paging.style == "none":
            return True
        content = content_of(records)
        seen = self._first_seen.get(content, page) if records else page
        looks_on = page in self._unidentified and self.plan.count(page + 1) is None
        if seen == 1 and page in self._repeating and self._shows_nothing_else() and not looks_on:
            raise ServiceFailing(
                f"{self.endpoint.name} answers with the same page again and again (page {page} among them).",
                kept="Every page stored so far is kept.",
                next_step="Check that the address belongs to this service: it does not heed the page number.",
            )
        if records and page in self._behind and seen == page:
            return False
        return self.plan.keeps(page, 0 if seen < page and not self._holds_it(page, content) else len(records))

    def wants_certainty(self, page: int) -> bool:
        """Whether a page is to be asked for on a connection of its own."""
        return self.number > 0 or self.first_page.is_open or self.plan.wants_certainty(page)

    def came_back(self, page: int, records: Sequence[bytes], *, is_certain: bool = True) -> bool:
        """A page is durable, or not to be stored. Whether it only repeats the first page, which is then taken for the
        only one.

        Unless it `is_certain`, what came may have been the answer to another request.
        """
        is_only = self._came_back(page, records, is_certain=is_certain)
        self._verify_end()
        return is_only

    def _came_back(self, page: int, records: Sequence[bytes], *, is_certain: bool) -> bool:
        if not records or self.endpoint.paging.style == "none":
            self.has_stray_answers |= page in self._verifying
            if self.plan.count(page) is None:
                self._held.pop(page, None)
            self.plan.came_back(page, len(records), is_certain=is_certain)
            self._looked_behind(page)
            return False
        content = content_of(records)
        if page in self._behind and self._first_seen.get(content, page) == page:
            self.plan.doubt_last(page)
            return False
        seen = self._first_seen.get(content, page)
        if page in self._verifying and content not in self._first_seen:
            self.has_stray_answers = True
        holds_it = self._holds_it(page, content)
        if seen < page and self.plan.count(page) and not holds_it:
            # What is stored for it stays.
            self.has_stray_answers = True
            self.plan.came_back(page, 0)
            return False
        if seen < page and holds_it:
            self.plan.came_back(page, len(records))
            return False
        if seen < page:
            self._note_repetition(page, content, records)
            if self.plan.count(page) is None or page not in self._held:
                self._held[page] = len(records)
            self.has_stray_answers |= self.may_be_answered_wrongly
            self.plan.came_back(page, 0, is_certain=is_certain)
            self._looked_behind(page)
            is_new = page > self.plan.known_pages and self.plan.count(page + 1) is None
            if is_new and page in self._unidentified and self._repeating.get(page - 1) != content:
                # Another page may well hold the same records, but not two in a row.
                self.plan.read_again(page + 1)
            self._only_first_page = seen == 1 and self.plan.pages == 1
            return self._only_first_page and not self._shows_nothing_else() and self.plan.end == 1
        self._only_first_page = False
        self.has_stray_answers |= page in self._repeating
        self._repeating.pop(page, None)
        if not self.plan.keeps(page, len(records)):
            self.plan.came_back(page, len(records))
            return False
        self.longest_beyond = max(self.longest_beyond, len(records) if len(records) > self.page_size else 0)
        if self.plan.count(page):
            self._replace(page, content)
        self._held.pop(page, None)
        self._first_seen[content] = page
        if seen > page:
            self._note_repetition(seen, content, records)
            self._held[seen] = self.stored(seen)
            self.plan.repeats(seen)
        for passed in self._repeating:
            if self.plan.known_pages < passed < page:
                # It was no end, so it may hold the same as another page.
                self.plan.read_again(passed)
        self.plan.came_back(page, len(records))
        return False

    def nothing_there(self, page: int, *, is_certain: bool = True) -> None:
        """A status said that there is no such page."""
        self.plan.nothing_there(page, is_certain=is_certain)
        self._looked_behind(page)

    def _note_repetition(self, page: int, content: int, records: Sequence[bytes]) -> None:
        self._repeating[page] = content
        if self._has_unidentified(records):
            self._unidentified.add(page)

    def _has_unidentified(self, records: Sequence[bytes]) -> bool:
        """Whether nothing identifies some of these records, so that others may be just like them."""
        try:
            ids = Decoder(self.endpoint, columns=False, lines=None).decode([self.arrangement.join(records)]).ids
        except InvalidPage:
            return False
        return any(isinstance(identity, bytes) for identity in ids)

    def _holds_it(self, page: int, content: int) -> bool:
        """Whether a page in the middle shows the content of an earlier one for the second time: then it holds that."""
        return page < self.plan.known_pages and self._repeating.get(page) == content

    def _verify_end(self) -> None:
        """Where the page behind the last one repeats another, have that one read again.

        It may have been stored for what was in truth the answer to the page that repeats it.
        """
        end = self.plan.end
        if end is None or self._only_first_page or end + 1 not in self._repeating:
            return
        repeated = self._first_seen.get(self._repeating[end + 1])
        if repeated is not None and repeated not in self._verifying:
            self._verifying.add(repeated)
            self.plan.read_again(repeated)

    def _looked_behind(self, page: int) -> None:
        if page in self._behind:
            self.plan.nothing_behind(page)

    def _replace(self, page: int, content: int) -> None:
        """An answer for a page takes the place of another: what repeated that one may hold something else, too."""
        former = {one for one, first in self._first_seen.items() if first == page and one != content}
        for one in former:
            del self._first_seen[one]
        for repeating in [one for one, what in self._repeating.items() if what in former]:
            self.has_stray_answers = True
            del self._repeating[repeating]
            self.plan.ask_anew(repeating)

    def _shows_nothing_else(self) -> bool:
        """Whether there is one full page only: its repetition says then that the number of the page is not heeded."""
        return self.plan.pages == 1 and (self.plan.count(1) or 0) >= self.page_size
