"""A paged list with the behaviour that a test chooses, and sweeps over it with responses in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import parse_qsl

from hypothesis import strategies as st

from bulk_export.core.model import Paging
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.sweep import Sweep
from bulk_export.services.catalogue import load_service

NOTHING_KNOWN = PagingFacts()
ENDPOINT = replace(load_service("npq").endpoints[0], sort=None)
Style = Literal["pages", "offset"]
Answer = list[bytes] | int
# What a list makes of an answer, given how many it has given before, the page and the answer as it should be.
Fault = Callable[[int, int, Answer], Answer]


class PagedList:
    """Holds `records` records, and gives at most `cap(n)` of them in the n-th answer. `answers` counts the requests.

    Behind its last page it gives what `end` names: a status, nothing, or the last or the first page again.
    """

    def __init__(
        self,
        records: int,
        *,
        cap: Callable[[int], int] = lambda _: 10_000,
        end: int | Literal["empty", "last", "first"] = "empty",
        style: Style = "pages",
        fault: Fault = lambda _n, _page, answer: answer,
    ) -> None:
        self._records = everything(records)
        self._cap, self._end, self._style, self._fault = cap, end, style, fault
        self.answers = 0

    def get(self, sweep: Sweep, page: int) -> Answer:
        """Answer the request that a sweep makes for a page: with records, or with a status."""
        query = dict(parse_qsl(sweep.target(page).partition("?")[2]))
        size, number = min(int(query["size"]), self._cap(self.answers)), int(query["number"])
        first = number if self._style == "offset" else (number - 1) * size
        answer: Answer = self._records[first : first + size]
        if not answer and page > 1:
            last = max(0, (len(self._records) - 1) // size * size)
            shown = {"empty": [], "last": self._records[last:], "first": self._records[:size]}
            answer = self._end if isinstance(self._end, int) else shown[self._end]
        answer = self._fault(self.answers, page, answer)
        self.answers += 1
        return answer


def everything(records: int) -> list[bytes]:
    """The records of a list of that length."""
    return [b"{%d}" % number for number in range(records)]


def sweep_over(
    page_size: int,
    workers: int = 1,
    style: Style = "pages",
    known: PagingFacts = NOTHING_KNOWN,
    largest: int | None = None,
) -> Sweep:
    """A first sweep over a list."""
    paging = Paging(style, "number", "size", 0 if style == "offset" else 1, largest=largest)
    return Sweep(
        replace(ENDPOINT, paging=paging),
        number=0,
        page_size=page_size,
        stride=2 * workers,
        filters=(),
        known=known,
    )


def read_pages(
    sweep: Sweep, served: PagedList, workers: int = 1, pick: st.DataObject | None = None
) -> dict[int, Sequence[bytes]]:
    """The pages that a sweep stores, with answers in any order that `pick` draws."""
    pages: dict[int, Sequence[bytes]] = {}
    in_flight: list[int] = []
    for _ in range(2_000):
        while len(in_flight) < (workers if pages else 1) and (page := sweep.plan.next_page()) is not None:
            in_flight.append(page)
        if not in_flight:
            break
        page = in_flight.pop(0 if pick is None else pick.draw(st.integers(0, len(in_flight) - 1)))
        settled = sweep.plan.contiguous
        answer = served.get(sweep, page)
        if isinstance(answer, list):
            if sweep.should_store(page, answer):
                # What was converted already must not change.
                assert page > settled
                pages[page] = answer
            sweep.record_response(page, answer)
        elif sweep.says_no_such_page(page, answer):
            sweep.record_no_such_page(page)
        else:
            assert sweep.is_known_page(page, answer)
            sweep.plan.release(page)
    assert sweep.plan.complete
    assert sweep.plan.contiguous >= (sweep.plan.end or 0)
    return pages


def read(sweep: Sweep, served: PagedList, workers: int = 1, pick: st.DataObject | None = None) -> list[bytes]:
    """The records that a sweep stores, in order."""
    pages = read_pages(sweep, served, workers, pick)
    return [record for page in range(1, (sweep.plan.end or 0) + 1) for record in pages[page]]
