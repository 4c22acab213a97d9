"""Fetches the pages of several sweeps in parallel, under one budget.

A single dispatcher waits for a free worker, then for a page worth requesting, then for a slot, and only
then decides which page it is, so that the newest knowledge chooses. The first request goes out alone: a
wrong token costs one request, not one a worker. Pages that failed wait out their backoff on the side while
others are fetched, but never more of them than there are workers, so that a failing service is not hammered.
While the service is away for everybody, all pages wait, and then again a single request goes out.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import anyio
import anyio.abc
import anyio.to_thread

from bulk_export.core.notifier import Notifier
from bulk_export.core.window_gate import WindowGate
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing
from bulk_export.extract.client import CSV, JSON, HttpClient
from bulk_export.extract.error_responses import announced, refusal
from bulk_export.extract.fetched_page import FetchedPage
from bulk_export.extract.outage import Outage
from bulk_export.extract.rate_limit import Permit, RateLimiter, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.retry import UNAVAILABLE, Backoff, StatusClass, disposition
from bulk_export.extract.stale_responses import StaleResponses
from bulk_export.extract.sweep import Sweep
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import InvalidPage, SplitBody, UnpagedBody

# What may still arrive after the export has been given up is worth waiting for, briefly.
_LAST_ANSWERS = 5.0
# A gateway says with these that it waited for the service in vain: the request may yet be counted there.
_GATEWAY_GAVE_UP = (504, 524)


class Dispatcher:
    """Runs until every sweep is complete and none can be added any more.

    `deliver` is awaited with the pages of an answer, made as they are asked for, before they count as come back;
    what it raises ends the run.
    `changed` is notified whenever a plan or a horizon has changed. `uniform` gives random numbers from 0 to 1, for the
    jitter. Nothing is sent while `opening` is closed. Waits that the service announces last up to `max_wait` seconds.
    `served_at` hears the `Date` header of each page before the page is delivered. `taken_in` hears of each sweep
    whenever an answer changed what is known of it. `successor` names the service that took the place of this one.
    """

    def __init__(
        self,
        sweeps: Sequence[Sweep],
        *,
        fetcher: HttpClient,
        budget: RateLimiter,
        workers: int,
        deliver: Callable[[Iterable[FetchedPage]], Awaitable[None]],
        changed: Notifier,
        observer: Observer,
        backoff: Backoff,
        count_request: Callable[[str], None],
        retried: Callable[[], None] = lambda: None,
        uniform: Callable[[], float],
        max_wait: float = 900.0,
        opening: WindowGate | None = None,
        served_at: Callable[[str | None], None] = lambda _: None,
        successor: str | None = None,
        taken_in: Callable[[Sweep], None] = lambda _: None,
    ) -> None:
        self._sweeps = list(sweeps)
        self._closed = False
        self._fetcher = fetcher
        self._echoes = StaleResponses(fetcher.distrust)
        self._budget = budget
        self._workers = workers
        self._deliver = deliver
        self._changed = changed
        self._observer = observer
        self._backoff = backoff
        self._count_request = count_request
        self._retried = retried
        self._uniform = uniform
        self._outage = Outage(backoff, max_wait=max_wait, uniform=uniform)
        self._reasons: set[str] = set()
        self._opening = opening or WindowGate(None, closed=lambda _: None)
        self._served_at = served_at
        self._successor = successor
        self._taken_in = taken_in
        self._in_flight = 0
        self._cooling = 0
        self._answered = False
        self._failures: Counter[tuple[int, int]] = Counter()
        self._fatal: BulkExportError | None = None
        self._dispatching: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Fetch everything. Raises ServiceRefused, ServiceFailing or what `deliver` raised.

        Before it raises, answers on their way are given a moment to arrive and be delivered.
        """
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as self._dispatching:
                try:
                    await self._dispatch(tasks)
                except BulkExportError as error:
                    self._give_up(error)
            if self._fatal is not None:
                with anyio.move_on_after(_LAST_ANSWERS):
                    while self._in_flight:
                        await self._changed.wait()
                tasks.cancel_scope.cancel()
        if self._fatal is not None:
            raise self._fatal

    def add(self, sweep: Sweep) -> None:
        """Fetch one more sweep."""
        self._sweeps.append(sweep)
        self._changed.notify_all()

    def close(self) -> None:
        """Nothing will be added: `run` returns when what there is has been fetched."""
        self._closed = True
        self._changed.notify_all()

    def stop_dispatching(self) -> None:
        """Send nothing more; `run` returns when what is in flight has come back."""
        if self._dispatching is not None:
            self._dispatching.cancel()
        for sweep in self._sweeps:
            sweep.horizon = 0

    async def _dispatch(self, tasks: anyio.abc.TaskGroup) -> None:
        while await self._work_appears():
            await self._opening.wait()
            if shut := self._outage.shut_for(anyio.current_time()):
                await anyio.sleep(shut)
                continue
            slot = await self._budget.acquire()
            # The slot may have been minutes away, and the window closed meanwhile, or the service gone.
            may_send = self._opening.is_open() and not self._outage.shut_for(anyio.current_time())
            sweep, page = self._take() if may_send else (None, 0)
            if sweep is None:
                await self._budget.settle(slot, RequestOutcome.UNSENT)
                continue
            self._in_flight += 1
            tasks.start_soon(self._request, slot, sweep, page)

    async def _work_appears(self) -> bool:
        """Wait until a page can be requested; False once every sweep is complete."""
        while True:
            if self._closed and all(sweep.plan.complete for sweep in self._sweeps):
                return False
            allowed = self._workers if self._answered else 1
            if self._in_flight < allowed and self._cooling < self._workers and self._choose() is not None:
                return True
            await self._changed.wait()

    def _choose(self) -> Sweep | None:
        return next((sweep for sweep in self._sweeps if sweep.plan.has_work(sweep.horizon)), None)

    def _take(self) -> tuple[Sweep | None, int]:
        sweep = self._choose()
        page = sweep.plan.take(sweep.horizon) if sweep is not None else None
        return (None, 0) if page is None else (sweep, page)

    async def _request(self, slot: Permit, sweep: Sweep, page: int) -> None:
        sent_in = self._outage.holds
        try:
            outcome = await self._send(slot, sweep, page)
            if isinstance(outcome, Response):
                self._reached()
                if self._sits_out(outcome, sweep, page, sent_in):
                    return
                # Nothing holds an unusable body while its page waits for another attempt.
                outcome = await self._accept(outcome, sweep, page)
                # A page from before the service went away does not say that it is back.
                if outcome is None and sent_in == self._outage.holds:
                    self._answered = True
                    self._outage.over()
            if outcome is not None and not outcome.sent:
                self._unreachable(outcome, sweep, page, sent_in)
            elif outcome is not None:
                await self._failed(outcome, sweep, page)
        except BulkExportError as error:
            self._give_up(error)
        finally:
            self._in_flight -= 1
            self._changed.notify_all()

    async def _send(self, slot: Permit, sweep: Sweep, page: int) -> Response | RequestFailed | None:
        """Put one request on the wire and settle its slot.

        None where its page is to be asked for again: the service said to come later, or the slot was void by the time
        the request could go out.
        """
        # Without an answer nobody knows when the service counts the request.
        settled: RequestOutcome | None = RequestOutcome.GIVEN_UP
        try:
            self._count_request(sweep.endpoint.name)
            self._observer.request_sent(sweep.endpoint.name)
            outcome = await self._get(sweep, page, slot)
            if outcome is None:
                settled = RequestOutcome.UNSENT
                sweep.plan.give_back(page)
                return None
            if isinstance(outcome, Response):
                settled = RequestOutcome.GIVEN_UP if outcome.status in _GATEWAY_GAVE_UP else RequestOutcome.ANSWERED
                if disposition(outcome.status) is StatusClass.THROTTLED:
                    sweep.plan.give_back(page)
                    settled = None
                    pause = await self._budget.refused(slot, retry_after=outcome.retry_after, date=outcome.date)
                    self._reached()
                    told = announced(outcome)
                    self._observer.throttled(self._outage.refused(told, pause, now=anyio.current_time()))
                    return None
            elif not outcome.sent:
                settled = RequestOutcome.UNSENT
        except LocalFailure:
            settled = None if settled is None else RequestOutcome.UNSENT
            raise
        else:
            return outcome
        finally:
            if settled is not None:
                await self._budget.settle(slot, settled)

    async def _get(self, sweep: Sweep, page: int, slot: Permit) -> Response | RequestFailed | None:
        return await self._fetcher.get_while(
            lambda: self._budget.is_fresh(slot),
            sweep.target(page),
            slot.source,
            accept=CSV if sweep.endpoint.format == "csv" else JSON,
            is_whole=sweep.endpoint.paging.style == "none",
            is_alone=self._echoes.is_alone(sweep, page),
        )

    async def _accept(self, answer: Response, sweep: Sweep, page: int) -> RequestFailed | None:
        """Store a page that arrived; what is wrong with it where it is none, or may be one another time."""
        if sweep.first_page.is_answer(answer.status):
            await self._number_shown(sweep, page, None, None)
            return None
        if sweep.says_no_such_page(page, answer.status):
            self._no_such_page(sweep, page, is_certain=answer.is_certain)
            return None
        match disposition(answer.status):
            case StatusClass.ACCEPT:
                self._served_at(answer.date)
                try:
                    if sweep.endpoint.paging.style == "none":
                        await self._store_whole(answer, sweep, page)
                    else:
                        await self._store(answer, sweep, page)
                except InvalidPage as error:
                    return RequestFailed(f"the body is not a page of records: {error}")
                return None
            case StatusClass.RETRY:
                return RequestFailed(f"status {answer.status}")
            case StatusClass.REFUSED if sweep.is_out_of_order(page, answer.status):
                return RequestFailed(f"status {answer.status}, although there is such a page")
            case _:
                raise refusal(answer, f"page {page} of {sweep.endpoint.name}", successor=self._successor)

    def _sits_out(self, answer: Response, sweep: Sweep, page: int, sent_in: int) -> bool:
        """Whether the service announced when it will be back: its page is asked for again then."""
        told = announced(answer) if answer.status in UNAVAILABLE else None
        if told is None:
            return False
        index, now = (id(sweep), page), anyio.current_time()
        wait = self._outage.announced(answer.status, told, index, sent_in=sent_in, now=now)
        if wait is not None:
            self._observer.unavailable(f"the service answered {answer.status} and announced when it will be back", wait)
        self._ask_again(sweep, page)
        return True

    def _unreachable(self, failure: RequestFailed, sweep: Sweep, page: int, sent_in: int) -> None:
        """No connection could be made: that concerns all pages, and is no failure of this one."""
        if failure.final:
            raise ServiceFailing(
                f"The service cannot be reached: {failure.reason}.",
                kept="Every page stored so far is kept.",
                next_step=failure.advice,
            )
        wait = self._outage.unreachable(failure.reason, sent_in=sent_in, now=anyio.current_time())
        if wait is not None:
            if failure.reason not in self._reasons:
                self._reasons.add(failure.reason)
                self._observer.unavailable(failure.reason, wait)
            else:
                self._observer.still_unavailable(self._outage.failures, wait)
        self._ask_again(sweep, page)

    def _ask_again(self, sweep: Sweep, page: int) -> None:
        """Give a page back that waits for the service, which a single request tries then."""
        self._retried()
        self._answered = False
        sweep.plan.give_back(page)

    def _reached(self) -> None:
        failures = self._outage.reached()
        if failures:
            self._observer.available_again(failures)

    async def _store(self, answer: Response, sweep: Sweep, page: int) -> None:
        fetched = FetchedPage.of(answer, sweep, page)
        records = fetched.body.records
        if records and self._echoes.asks_again(answer, sweep, page):
            return
        if sweep.first_page.is_open:
            await self._number_shown(sweep, page, records, fetched)
        else:
            await self._keep(fetched)

    async def _number_shown(
        self, sweep: Sweep, page: int, records: Sequence[bytes] | None, fetched: FetchedPage | None
    ) -> None:
        """Go on with another number for the first page, or with what was found out about how pages are counted."""
        pages = sweep.first_page.answered(records, fetched)
        if not pages:
            sweep.plan.give_back(page)
            return
        sweep.counted()
        for number, one in pages:
            await self._keep(replace(one, page=number))

    async def _keep(self, fetched: FetchedPage) -> None:
        sweep, page, records = fetched.sweep, fetched.page, fetched.body.records
        end, is_new = sweep.plan.end, sweep.plan.count(page) is None
        if sweep.inspect(page, records):
            await self._deliver([fetched])
        try:
            is_only = sweep.came_back(page, records, is_certain=fetched.is_certain)
        finally:
            self._taken_in(sweep)
        if is_only:
            self._observer.warned(
                f"{sweep.endpoint.name} shows its first page again when asked for page {page}: it is taken for all."
            )
        if sweep.number == 0 and is_new and sweep.plan.count(page) is not None:
            self._observer.page_stored(sweep.endpoint.name, page, len(records))
        self._look_for_end(sweep, end)

    def _no_such_page(self, sweep: Sweep, page: int, *, is_certain: bool) -> None:
        end = sweep.plan.end
        sweep.nothing_there(page, is_certain=is_certain)
        self._taken_in(sweep)
        self._look_for_end(sweep, end)

    def _look_for_end(self, sweep: Sweep, end: int | None) -> None:
        if sweep.number == 0 and sweep.plan.end is not None and sweep.plan.end != end:
            self._observer.end_found(sweep.endpoint.name, sweep.plan.end)

    async def _store_whole(self, answer: Response, sweep: Sweep, page: int) -> None:
        if self._echoes.asks_again(answer, sweep, page):
            return
        whole = await anyio.to_thread.run_sync(
            functools.partial(
                UnpagedBody, sweep.endpoint, answer.body, page_size=sweep.page_size, is_framed=answer.is_framed
            )
        )
        await self._deliver(
            FetchedPage(sweep, page, SplitBody(body, records), body, "identity")
            for page, (records, body) in enumerate(whole.pages(), start=1)
        )
        for page, count in enumerate(whole.counts, start=1):
            sweep.plan.came_back(page, count)
            if sweep.number == 0:
                self._observer.page_stored(sweep.endpoint.name, page, count)

    async def _failed(self, failure: RequestFailed, sweep: Sweep, page: int) -> None:
        index = (id(sweep), page)
        self._failures[index] += 1
        failures = self._failures[index]
        if failure.final or self._backoff.exhausted(failures):
            times = "" if failures == 1 else f" {failures} times"
            raise ServiceFailing(
                f"Page {page} of {sweep.endpoint.name} failed{times}, last: {failure.reason}.",
                kept="Every page stored so far is kept.",
                next_step=failure.advice or "When the service answers again, the same command goes on from here.",
            )
        delay = self._backoff.delay(failures, self._uniform())
        self._retried()
        self._observer.retrying(sweep.endpoint.name, page, failure.reason, delay)
        self._in_flight -= 1
        self._cooling += 1
        self._changed.notify_all()
        try:
            await anyio.sleep(delay)
        finally:
            self._cooling -= 1
            self._in_flight += 1
        sweep.plan.give_back(page)

    def _give_up(self, error: BulkExportError) -> None:
        if self._fatal is None:
            self._fatal = error
        if self._dispatching is not None:
            self._dispatching.cancel()
