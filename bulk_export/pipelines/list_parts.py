"""A list in parts of consecutive pages, which several processes read at the same time.

One process finds how many pages there are. The others read a part each, under the limits that they share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from bulk_export.core.clock import MAX_READINGS, seconds_ahead
from bulk_export.core.model import Endpoint
from bulk_export.extract.page_evidence import NOTHING_KNOWN
from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.page_range import EndSearch, PageRange
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.options import ExportOptions, refuse_trials
from bulk_export.pipelines.session import Session, open_session
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.progress.observer import Observer


@dataclass(frozen=True, slots=True)
class ListPart:
    """Consecutive pages of the list of one endpoint.

    Attributes:
        first: The first page, from 1.
        last: The last page; None reads on to the end of the list, wherever that is by then.
        known: How the service pages the list.
        distinct: Whether each identity is given once, as in a stream of the whole list.
    """

    first: int = 1
    last: int | None = None
    known: PagingFacts = field(default=NOTHING_KNOWN)
    distinct: bool = False

    def sweep(self, session: Session, endpoint: Endpoint) -> Sweep:
        """Return a sweep over these pages."""
        if self.first == 1 and self.last is None:
            return session.first_sweep(endpoint)
        options = session.options
        plan = PageRange(
            _page_size(options, endpoint),
            2 * options.workers if self.last is not None else 1,
            first=self.first,
            last=self.last,
            known=self.known,
            by_position=(self.known.style or endpoint.paging.style) == "offset",
        )
        return session.first_sweep(endpoint, known=self.known, plan=plan)


@dataclass(frozen=True, slots=True)
class FoundParts:
    """The parts of a list in page order, and by how many seconds the service's clock was ahead in the first answers."""

    parts: tuple[ListPart, ...]
    clock_readings: tuple[float, ...] = ()


class _Discarded(PageReceiver):
    """Keeps no page, but what the first responses say of the service's clock."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.clock_readings: list[float] = []

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        for _ in pages:
            pass

    def response_dated(self, date: str | None) -> None:  # as in the base
        if len(self.clock_readings) < MAX_READINGS and (ahead := seconds_ahead(date, self._clock())) is not None:
            self.clock_readings.append(ahead)


async def find_parts(
    options: ExportOptions, *, pages: int, observer: Observer | None = None, tuning: Tuning | None = None
) -> FoundParts:
    """Find the end of the list of the one endpoint in `options`, and cut the list into parts.

    The last part begins with the last page and has no end, so that records that are added meanwhile are read, too.

    Args:
        options: The endpoint, the service, and how requests are sent.
        pages: The number of pages of a part.
        observer: Receives the events of the search.
        tuning: Timeouts, backoff and clocks.

    Returns:
        The parts. A list that is not paged, or has only one page, is one part.

    Raises:
        BulkExportError: Anything that can go wrong with a request; see `bulk_export.errors`.
    """
    (endpoint,) = options.endpoints
    if endpoint.paging.style == "none":
        return FoundParts((ListPart(),))
    observer, tuning = observer or Observer(), tuning or Tuning()
    refuse_trials(options)
    async with open_session(options, observer, tuning, body_cap=body_cap(options.page_size)) as session:
        known = session.facts.of(endpoint.path)
        plan = EndSearch(
            _page_size(options, endpoint), known=known, by_position=(known.style or endpoint.paging.style) == "offset"
        )
        sweep = session.first_sweep(endpoint, plan=plan)
        receiver = _Discarded(tuning.clock)
        dispatcher = session.dispatcher([sweep], receiver)
        dispatcher.close()
        await dispatcher.run()
        session.conclude(sweep)
        return FoundParts(tuple(cut(plan.end or 0, pages, sweep.learned())), tuple(receiver.clock_readings))


def cut(end: int, pages: int, known: PagingFacts = NOTHING_KNOWN) -> list[ListPart]:
    """Cut the pages up to `end` into parts of at most `pages`, with the last page and what follows it as the last part.

    >>> [(part.first, part.last) for part in cut(6, 2)]
    [(1, 2), (3, 4), (5, 5), (6, None)]
    """
    if end <= 1:
        return [ListPart()]
    bounded = [ListPart(first, min(first + pages, end) - 1, known) for first in range(1, end, pages)]
    return [*bounded, ListPart(end, None, known)]


def _page_size(options: ExportOptions, endpoint: Endpoint) -> int:
    return min(options.page_size, endpoint.paging.largest or options.page_size)
