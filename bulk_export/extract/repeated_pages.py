"""Pages of a sweep that show the records of another page.

A service may repeat a page because

1. it sends its last or first page for every number past the end: the repetition means "no such page";
2. it ignores the page number, so every request brings the first page;
3. a response belongs to another request, so the stored body of one of the two pages may be wrong; or
4. its records have no ids, and two pages hold equal ones: the repetition is a page of its own.

This module records which page repeats which; `sweep` decides what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bulk_export.core.model import Endpoint
from bulk_export.errors import ServiceFailing
from bulk_export.transform.decode import Decoder, InvalidPage, RecordShaper

# Far beyond any real endpoint: a service that never stops inventing records is given up here.
MOST_PAGES = 5_000_000


class RepeatedPages:
    """The contents that were seen in a sweep, and the pages that repeat an earlier one.

    A content is a number made by `content_of`.
    """

    def __init__(self, endpoint: Endpoint, shaper: RecordShaper) -> None:
        self._endpoint = endpoint
        self._shaper = shaper
        # The page to which each content is attributed.
        self._page_of: dict[int, int] = {}
        # Pages that repeat an earlier one, and the content of both.
        self._repeating: dict[int, int] = {}
        # Those of them that have records without an identity: case 4 is possible.
        self._unidentified: set[int] = set()

    def __contains__(self, page: int) -> bool:
        """Whether a page repeats another one."""
        return page in self._repeating

    def __iter__(self) -> Iterator[int]:
        """Iterate over the pages that repeat another one."""
        return iter(self._repeating)

    def page_with(self, content: int, default: int) -> int:
        """Return the page to which a content is attributed, `default` if it was not seen before."""
        return self._page_of.get(content, default)

    def has_seen(self, content: int) -> bool:
        """Whether a content is attributed to some page."""
        return content in self._page_of

    def enter(self, content: int, page: int) -> None:
        """Attribute a content to a page."""
        self._page_of[content] = page

    def add(self, page: int, content: int, records: Sequence[bytes]) -> None:
        """Record that a page repeats the content of another one."""
        self._repeating[page] = content
        if self._has_unidentified(records):
            self._unidentified.add(page)

    def discard(self, page: int) -> None:
        """Record that a page repeats nothing."""
        self._repeating.pop(page, None)

    def repeats(self, page: int, content: int) -> bool:
        """Whether a page was found to repeat this content."""
        return self._repeating.get(page) == content

    def repeated_by(self, page: int) -> int | None:
        """Return the page whose content a page repeats, None if there is no such page now."""
        return self._page_of.get(self._repeating[page])

    def may_be_coincidence(self, page: int) -> bool:
        """Whether a repeating page has records without an identity: then two pages may really hold equal records."""
        return page in self._unidentified

    def replace(self, page: int, content: int) -> list[int]:
        """Record that a page has a new content. Return the pages that repeated the former one: they are in doubt."""
        former = {other for other, first in self._page_of.items() if first == page and other != content}
        for other in former:
            del self._page_of[other]
        doubtful = [other for other, repeated in self._repeating.items() if repeated in former]
        for other in doubtful:
            del self._repeating[other]
        return doubtful

    def _has_unidentified(self, records: Sequence[bytes]) -> bool:
        try:
            ids = Decoder(self._endpoint, columns=False, lines=None).decode([self._shaper.join(records)]).ids
        except InvalidPage:
            return False
        return any(isinstance(identity, bytes) for identity in ids)


def ignored_page_number(endpoint: str, page: int) -> ServiceFailing:
    """Make the error for case 2."""
    return _lasting(
        f"{endpoint} answers with the same page again and again (page {page} among them).",
        next_step="Check that the address belongs to this service: it does not heed the page number.",
    )


def endless_list(endpoint: str, page: int) -> ServiceFailing:
    """Make the error for a list that goes on beyond `MOST_PAGES`, although no page repeats another."""
    return _lasting(
        f"{endpoint} has no end: page {page} still holds records.",
        next_step="Check the address of the service, or raise --page-size.",
    )


def _lasting(what: str, next_step: str) -> ServiceFailing:
    """An error that would come again: the address or the size of the pages has to change."""
    error = ServiceFailing(what, next_step=next_step)
    error.may_pass = False
    return error
