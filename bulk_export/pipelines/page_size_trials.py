"""Finds the page size of each list (`--page-size auto`) before it is read, and remembers it in the journal.

The first page is requested with 300 records, and with more while that takes less time for each record. That costs three
requests a list at most, one if it is short, and none if it is known to be. A size is chosen once: an interrupted export
goes on with it. If pages of a size keep failing while small ones are answered, the list is begun again with a smaller
one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import anyio
import anyio.to_thread

from bulk_export.core.model import Endpoint
from bulk_export.errors import BulkExportError, ServiceFailing, ServiceRefused
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.journal import JournalStore
from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.page_sizes import SIZES, SizeTrial, best_size, next_trial, smaller_size
from bulk_export.pipelines.option_parsing import LARGEST_PAGE
from bulk_export.pipelines.session import Session
from bulk_export.progress.observer import Observer

_FACT = "page_size/"
# A list that had at most this many records the last time gains nothing from larger pages.
_SHORT = 2 * SIZES[0]


async def page_sizes(
    session: Session,
    store: JournalStore,
    receiver: PageReceiver,
    stop: anyio.Event,
) -> Mapping[str, int]:
    """Return the page size of each endpoint of a session: as the journal has it, or as trials show.

    Args:
        session: Where pages are requested.
        store: The journal, which remembers the sizes.
        receiver: Counts the requests.
        stop: Ends the trials; lists that were not tried then are not in the result.
    """
    endpoints = [endpoint for endpoint in session.options.endpoints if endpoint.paging.style != "none"]
    sizes = await anyio.to_thread.run_sync(_stored, store, endpoints)

    async def choose(endpoint: Endpoint) -> None:
        size = await _chosen(session, endpoint, receiver)
        await anyio.to_thread.run_sync(store.put_fact, _FACT + endpoint.name, str(size))
        sizes[endpoint.name] = size

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_request, stop, tasks.cancel_scope)
        async with anyio.create_task_group() as trials:
            for endpoint in endpoints:
                if endpoint.name not in sizes:
                    trials.start_soon(choose, endpoint)
        tasks.cancel_scope.cancel()
    return sizes


async def answers_at_once(session: Session, endpoint: Endpoint, receiver: PageReceiver, stop: anyio.Event) -> bool:
    """Return whether the service answers a request for the first page with few records at once.

    Then large pages that fail are too large. Otherwise the service was away for everybody, and is back now.

    Args:
        session: Where the page is requested, with all attempts that it gives a page.
        endpoint: The endpoint whose large pages fail.
        receiver: Counts the requests.
        stop: Ends the request; the result is False then.

    Raises:
        ServiceFailing: The service is still away after all attempts.
        ServiceRefused: The service refuses small pages as well.
    """
    trial: _Trial | None = None
    failed: BulkExportError | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_end_on_request, stop, tasks.cancel_scope)
        try:
            trial = await _first_page(session, endpoint, SIZES[0], receiver)
        except BulkExportError as error:
            # Raised outside, where no task group makes a group of it.
            failed = error
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return trial is not None and trial.requests == 1


def begin_smaller(store: JournalStore, endpoint: str, size: int) -> int:
    """Drop what is stored of an endpoint, and choose a smaller page size. One transaction. Blocking.

    Args:
        store: The journal.
        endpoint: The endpoint.
        size: The size whose pages keep failing.

    Returns:
        The new size.

    Raises:
        LocalFailure: The journal cannot be written. Nothing has changed.
    """
    smaller = smaller_size(size)
    store.begin_again(endpoint, {_FACT + endpoint: str(smaller)})
    return smaller


async def _end_on_request(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _stored(store: JournalStore, endpoints: Iterable[Endpoint]) -> dict[str, int]:
    found = {each.name: store.parsed_fact(_FACT + each.name, _size) for each in endpoints}
    return {name: size for name, size in found.items() if size is not None}


def _size(text: str) -> int:
    size = int(text)
    if not 1 <= size <= LARGEST_PAGE:
        raise ValueError("not a page size")
    return size


async def _chosen(session: Session, endpoint: Endpoint, receiver: PageReceiver) -> int:
    largest = endpoint.paging.largest or session.options.service.largest_page_size or LARGEST_PAGE
    known = session.facts.of(endpoint.path).records
    trials: list[SizeTrial] = []
    if known is not None and known <= _SHORT:
        return best_size(trials, largest)
    while (size := next_trial(trials, largest)) is not None:
        trials.append(await _tried(session, endpoint, size, receiver))
    return best_size(trials, largest)


async def _tried(session: Session, endpoint: Endpoint, size: int, counted: PageReceiver) -> SizeTrial:
    """Request the first page once. Whatever is wrong with it: the list gets a size that was better, or fails itself."""
    once = replace(session, options=replace(session.options, retries=0))
    try:
        trial = await _first_page(once, endpoint, size, counted)
    except (ServiceFailing, ServiceRefused):
        return SizeTrial(size, 0, math.inf)
    return SizeTrial(size, trial.records, trial.ended - trial.began)


async def _first_page(session: Session, endpoint: Endpoint, size: int, counted: PageReceiver) -> _Trial:
    """Request the first page, and nothing else. Raises what its dispatcher raises."""
    single = replace(session, options=replace(session.options, page_size=size), observer=_Requests(session.observer))
    sweep = single.first_sweep(endpoint)
    sweep.horizon = 1
    trial = _Trial(counted, session.tuning.stopwatch)
    trial.dispatcher = single.dispatcher([sweep], trial)
    trial.dispatcher.close()
    await trial.dispatcher.run()
    return trial


class _Requests(Observer):
    """Tells an observer of requests and of waits for the service, but not of pages, which are requested again."""

    def __init__(self, observer: Observer) -> None:
        self.request_sent = observer.request_sent  # type: ignore[method-assign]
        self.throttled = observer.throttled  # type: ignore[method-assign]
        self.unavailable = observer.unavailable  # type: ignore[method-assign]
        self.still_unavailable = observer.still_unavailable  # type: ignore[method-assign]
        self.available_again = observer.available_again  # type: ignore[method-assign]
        self.outside_window = observer.outside_window  # type: ignore[method-assign]


@dataclass(slots=True)
class _Trial(PageReceiver):
    """Measures the first page, and stops its dispatcher. Requests are counted where those of the export are."""

    counted: PageReceiver
    now: Callable[[], float]
    records: int = 0
    requests: int = 0
    began: float = 0.0
    ended: float = 0.0
    dispatcher: Dispatcher = field(init=False)

    def request_sent(self, endpoint: str) -> None:
        """Begin to measure."""
        self.counted.request_sent(endpoint)
        self.requests += 1
        self.began = self.now()

    def retried(self) -> None:
        """Count it."""
        self.counted.retried()

    def held(self, seconds: float, *, is_throttled: bool) -> None:
        """Pass it on."""
        self.counted.held(seconds, is_throttled=is_throttled)

    def response_dated(self, date: str | None) -> None:
        """Pass it on."""
        self.counted.response_dated(date)

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        self.ended = self.now()
        self.records = sum(len(page.body.records) for page in pages)
        self.dispatcher.stop_dispatching()
