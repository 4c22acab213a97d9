"""One page: request it, classify the response, validate it, hand it to the receiver.

The dispatcher decides when a page is requested, and what follows if it does not arrive. This module decides what a
response means for its page. A page counts as arrived only when the receiver has it: `PageReceiver.receive` returns when
the page is durable, and only then is it recorded in the planner.
"""

from __future__ import annotations

import functools
import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import anyio.to_thread

from bulk_export.errors import LocalFailure
from bulk_export.extract.client import CSV, JSON, HttpClient
from bulk_export.extract.page_numbering import loggable_target
from bulk_export.extract.rate_limit import Permit, RateLimiter, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.retry import StatusClass, announced_seconds, classify_status, rejection_error
from bulk_export.extract.stale_responses import StaleResponses
from bulk_export.extract.sweep import Sweep
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import InvalidPage, SplitBody, UnpagedBody

logger = logging.getLogger(__name__)

# The objects in a large body are counted before they take memory; a real record has a few tens of objects.
_LARGE = 4 * 1024 * 1024
_MOST_OBJECTS = 4_096
# With these statuses a gateway gave up waiting for the service, which may count the request later.
_GATEWAY_GAVE_UP = (504, 524)


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A validated page on its way from the service to the receiver.

    Attributes:
        sweep: The sweep that it belongs to.
        page: Its number, counted from 1 whatever numbers the service uses.
        body: The inflated body, split into records.
        stored: The body as sent, in its `encoding`.
        is_certain: Whether it cannot belong to another request.
    """

    sweep: Sweep
    page: int
    body: SplitBody
    stored: bytes
    encoding: str
    is_certain: bool = True

    @classmethod
    def from_response(cls, response: Response, sweep: Sweep, page: int) -> FetchedPage:
        """Validate and split the body of a response. Raises InvalidPage if it is not a page of records."""
        body = response.body
        if len(body) > _LARGE and body.count(b"{") > _MOST_OBJECTS * (sweep.page_size + 100):
            raise InvalidPage("it holds far more objects than the records that were asked for could")
        split = sweep.shaper.split_with_ids(body)
        return cls(sweep, page, split, response.stored, response.encoding, response.is_certain)


class PageReceiver(Protocol):
    """Takes the pages of a run, and the counters that belong to them. Subclass it and implement `receive`.

    The other methods do nothing by default. They are called on the event loop and must return at once.
    """

    @abstractmethod
    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        """Take the pages of one response, all or none, and return when they are safe.

        `pages` may be a generator, so that a large response is not held twice: iterate over it once.
        Any exception ends the run.
        """
        raise NotImplementedError

    def request_sent(self, endpoint: str) -> None:
        """A request for a page of `endpoint` is about to be sent."""
        return

    def retried(self) -> None:
        """A page whose request failed is to be requested again."""
        return

    def held(self, seconds: float, *, is_throttled: bool) -> None:
        """Nothing is sent for some seconds: after a 429, or because the service is away."""
        return

    def response_dated(self, date: str | None) -> None:
        """A page arrived with this Date header; called before `receive`."""
        return

    def headers_arrived(self, headers: Mapping[str, str]) -> None:
        """A page arrived with these headers; called before `receive`."""
        return

    def sweep_changed(self, sweep: Sweep) -> None:
        """A response changed the state of `sweep`: see `Sweep.state`."""
        return


@dataclass(frozen=True, slots=True)
class Throttled:
    """The service answered 429.

    `pause` is for how many seconds the rate limiter holds everybody, and `retry_after` the seconds that the service
    asked for, if it did.
    """

    pause: float
    retry_after: float | None


class PageFetcher:
    """Fetches single pages for the dispatcher.

    Args:
        client: Sends the requests.
        limiter: Granted the permits, and records how each request ended.
        receiver: Takes the pages that arrive.
        observer: Receives the events about requests, pages and ends of lists.
        successor: The service that replaced this one, if any, for the error that a 404 becomes.
    """

    def __init__(
        self,
        client: HttpClient,
        limiter: RateLimiter,
        receiver: PageReceiver,
        observer: Observer,
        *,
        successor: str | None = None,
    ) -> None:
        self._client = client
        self._limiter = limiter
        self._receiver = receiver
        self._observer = observer
        self._successor = successor
        self._stale = StaleResponses(client.distrust)

    async def request(
        self, permit: Permit, sweep: Sweep, page: int, *, attempt: int
    ) -> Response | RequestFailed | Throttled | None:
        """Send the request for one page, and release its permit in any case.

        Args:
            permit: The permission to send, used up by this call.
            sweep: The sweep that the page belongs to.
            page: The page, which the planner counts as in flight.
            attempt: The number of this request among those for the page, for the log.

        Returns:
            The response; a RequestFailed if none arrived; Throttled after a 429; or None if the permit lapsed before
            the request could be sent. In the last two cases the page is released.

        Raises:
            LocalFailure: This machine cannot send requests.
        """
        # Without a response it is not known when the service counts the request.
        outcome: RequestOutcome | None = RequestOutcome.GIVEN_UP
        try:
            self._receiver.request_sent(sweep.endpoint.name)
            self._observer.request_sent(sweep.endpoint.name)
            self._observer.page_requested(sweep.endpoint.name, page, attempt)
            response = await self._get(permit, sweep, page, attempt)
            match response:
                case None:
                    outcome = RequestOutcome.UNSENT
                    sweep.plan.release(page)
                case RequestFailed(sent=False):
                    outcome = RequestOutcome.UNSENT
                case Response() if classify_status(response.status) is StatusClass.THROTTLED:
                    sweep.plan.release(page)
                    # Reporting it releases the permit.
                    outcome = None
                    return await self._report_throttled(permit, response)
                case Response(status=status) if status not in _GATEWAY_GAVE_UP:
                    outcome = RequestOutcome.ANSWERED
        except LocalFailure:
            outcome = None if outcome is None else RequestOutcome.UNSENT
            raise
        else:
            return response
        finally:
            if outcome is not None:
                await self._limiter.release(permit, outcome)

    async def accept(self, response: Response, sweep: Sweep, page: int) -> RequestFailed | None:
        """Validate and store a response. Return a RequestFailed if the page is worth requesting again, else None.

        Raises:
            ServiceRefused: No further request would change this response.
            ServiceFailing: The list has no end, or the service ignores the page number.
            BulkExportError: Whatever the receiver raises.
        """
        # 1. While the numbering of pages is being found out, an error may be the answer.
        if sweep.numbering.is_answer(response.status):
            await self._record_numbering(sweep, page, None, None)
            return None
        # 2. Behind the last page, a status such as 404 may stand for an empty page.
        if sweep.says_no_such_page(page, response.status):
            self._record_no_such_page(sweep, page, is_certain=response.is_certain)
            return None
        match classify_status(response.status):
            # 3. A page of records, or another body, which is worth another request.
            case StatusClass.ACCEPT:
                self._receiver.response_dated(response.date)
                self._receiver.headers_arrived(response.headers)
                try:
                    if sweep.is_paged:
                        await self._store(response, sweep, page)
                    else:
                        await self._store_unpaged(response, sweep, page)
                except InvalidPage as error:
                    return RequestFailed(f"the body is not a page of records: {error}")
                return None
            # 4. The service is in trouble.
            case StatusClass.RETRY:
                return RequestFailed(f"status {response.status}")
            # 5. A 404 for a page that is known to exist is trouble, too.
            case StatusClass.REJECTED if sweep.is_known_page(page, response.status):
                return RequestFailed(f"status {response.status}, although there is such a page")
            # 6. No further request would change any other response.
            case _:
                raise rejection_error(response, f"page {page} of {sweep.endpoint.name}", successor=self._successor)

    def count_retry(self) -> None:
        """Count a page that is to be requested again, since its request failed."""
        self._receiver.retried()

    def report_hold(self, seconds: float, *, is_throttled: bool) -> None:
        """Report that nothing is sent for some seconds."""
        self._receiver.held(seconds, is_throttled=is_throttled)

    async def _get(self, permit: Permit, sweep: Sweep, page: int, attempt: int) -> Response | RequestFailed | None:
        target = sweep.target(page)
        is_logged = logger.isEnabledFor(logging.DEBUG)
        began = time.monotonic() if is_logged else 0.0
        response = await self._client.get_while(
            lambda: self._limiter.is_fresh(permit),
            target,
            permit.source,
            accept=CSV if sweep.endpoint.format == "csv" else JSON,
            is_unpaged=not sweep.is_paged,
            on_new_connection=self._stale.needs_new_connection(sweep, page),
        )
        if is_logged:
            milliseconds = 1_000 * (time.monotonic() - began)
            logger.debug(
                "GET %s %s page=%d size=%d sweep=%d attempt=%d: %s in %.0f ms",
                sweep.endpoint.name,
                loggable_target(target, sweep.endpoint.paging),
                page,
                sweep.page_size,
                sweep.number,
                attempt,
                _loggable_result(response),
                milliseconds,
            )
        return response

    async def _report_throttled(self, permit: Permit, response: Response) -> Throttled:
        pause = await self._limiter.report_throttled(permit, retry_after=response.retry_after, date=response.date)
        return Throttled(pause, announced_seconds(response, wall=time.time()))

    async def _store(self, response: Response, sweep: Sweep, page: int) -> None:
        fetched = FetchedPage.from_response(response, sweep, page)
        records = fetched.body.records
        if records and self._stale.must_request_again(response, sweep, page):
            return
        if sweep.numbering.is_open:
            await self._record_numbering(sweep, page, records, fetched)
        else:
            await self._hand_over(fetched)

    async def _record_numbering(
        self, sweep: Sweep, page: int, records: Sequence[bytes] | None, fetched: FetchedPage | None
    ) -> None:
        """Use a response to find the numbering. Hand over pages that are certain now, or release the page."""
        settled = sweep.numbering.record_response(records, fetched)
        if not settled:
            sweep.plan.release(page)
            return
        sweep.apply_numbering()
        for number, numbered in settled:
            await self._hand_over(replace(numbered, page=number))

    async def _hand_over(self, fetched: FetchedPage) -> None:
        """Give one page to the receiver, and then to the planner."""
        sweep, page, records = fetched.sweep, fetched.page, fetched.body.records
        async with sweep.turns.turn(lambda: sweep.plan.count(page) is not None):
            end, is_new = sweep.plan.end, sweep.plan.count(page) is None
            if sweep.should_store(page, records):
                await self._receiver.receive([fetched])
            try:
                is_only = sweep.record_response(page, records, is_certain=fetched.is_certain)
            finally:
                self._receiver.sweep_changed(sweep)
        if is_only:
            self._observer.warned(
                f"{sweep.endpoint.name} shows its first page again when asked for page {page}: it is taken for all."
            )
        if sweep.number == 0 and is_new and sweep.plan.count(page) is not None:
            self._observer.page_stored(sweep.endpoint.name, page, len(records))
        self._report_end(sweep, end)

    def _record_no_such_page(self, sweep: Sweep, page: int, *, is_certain: bool) -> None:
        end = sweep.plan.end
        sweep.record_no_such_page(page, is_certain=is_certain)
        self._receiver.sweep_changed(sweep)
        self._report_end(sweep, end)

    def _report_end(self, sweep: Sweep, before: int | None) -> None:
        end = sweep.plan.end
        if sweep.number == 0 and end is not None and end != before:
            self._observer.end_found(sweep.endpoint.name, end)

    async def _store_unpaged(self, response: Response, sweep: Sweep, page: int) -> None:
        """Cut a response with everything into pages, and hand them over in one piece."""
        if self._stale.must_request_again(response, sweep, page):
            return
        body = await anyio.to_thread.run_sync(
            functools.partial(
                UnpagedBody, sweep.endpoint, response.body, page_size=sweep.page_size, is_framed=response.is_framed
            )
        )
        await self._receiver.receive(
            FetchedPage(sweep, number, SplitBody(text, records), text, "identity")
            for number, (records, text) in enumerate(body.pages(), start=1)
        )
        for number, count in enumerate(body.counts, start=1):
            sweep.plan.record_response(number, count)
            if sweep.number == 0:
                self._observer.page_stored(sweep.endpoint.name, number, count)


def _loggable_result(response: Response | RequestFailed | None) -> str:
    """The result of a request: its status and size, nothing of its body."""
    match response:
        case None:
            return "not sent, the permit lapsed"
        case RequestFailed():
            return f"failed, {response.reason}"
        case Response():
            return f"status {response.status}, {len(response.stored)} bytes"
