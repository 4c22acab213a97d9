"""When to send: keeps many requests in flight for all endpoints together, under one rate limit.

A single loop waits (1) for a free worker and a page worth requesting, (2) for the daily window, (3) for the end of an
outage, (4) for a permit, which may be minutes away. Only then does it decide which page is requested, so that
responses that arrived in the meantime count: they may have made a probe needless, or another page necessary.

How much is sent when things go wrong:

- The first request goes out alone: a wrong token costs one request, not one for each worker.
- A page whose request failed waits out its backoff while others are fetched. No more pages wait than there are workers,
  so that a service in trouble sees a trickle of requests.
- While the service is away for everybody, nothing is sent; then again a single request finds out whether it is back.

Fairness between endpoints: they are served in the order in which they were given, and a sweep gets a permit only while
no earlier one has a page worth requesting. All permits come from one limit and an export needs all endpoints, so taking
turns would finish none of them earlier, and would keep them all half-read, which makes changes between two pages more
likely. This leaves no worker idle: while an earlier sweep can use few of them, because it looks for its end, the later
ones get the rest. Further sweeps (`--consistent`), which read one page after the other, come last.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import anyio.abc

from bulk_export.core.loop_time import loop_time
from bulk_export.core.notifier import Notifier
from bulk_export.core.window_gate import WindowGate
from bulk_export.errors import BulkExportError, ServiceFailing
from bulk_export.extract.outage import Outage
from bulk_export.extract.pace import RequestPace
from bulk_export.extract.page_fetcher import PageFetcher, Throttled
from bulk_export.extract.rate_limit import Permit, RateLimiter, RequestOutcome
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.retry import UNAVAILABLE, Backoff, FailureCounts, announced_seconds
from bulk_export.extract.sweep import Sweep
from bulk_export.extract.task_pool import TaskPool
from bulk_export.progress.observer import Observer

logger = logging.getLogger(__name__)

# Seconds to wait for responses in flight after the run has failed.
_LAST_RESPONSES = 5.0
# How often a page may fail whose size may be the reason.
_FAILURES_OF_LARGE = 3


def _always_open() -> WindowGate:
    return WindowGate(None, closed=lambda _: None)


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """The number of requests, and the waits between them.

    Attributes:
        workers: The largest number of requests in flight.
        backoff: How often and after which delay the request for a page is repeated.
        uniform: Gives random numbers from 0 to 1, for the jitter.
        max_wait: The longest wait, in seconds, that is honoured when the service announces one.
        gate: Nothing is sent while it is closed.
        trusted_size: Pages with more records than these may be too large for the service: a few failures of one end
            the run with an error that names it (`large_page`). None if all sizes are the user's choice.
    """

    workers: int
    backoff: Backoff
    uniform: Callable[[], float]
    max_wait: float = 900.0
    gate: WindowGate = field(default_factory=_always_open)
    trusted_size: int | None = None


class Dispatcher:
    """Requests the pages of several sweeps until all are complete and no more can be added.

    Args:
        sweeps: What to fetch. Earlier ones go first.
        fetcher: Requests and stores single pages.
        limiter: Gives permits, one for each request.
        settings: The number of requests, and the waits between them.
        changed: Notified when a plan has changed. Notify it after changing a horizon.
        observer: Receives the events about retries, throttling and outages.

    Attributes:
        pace: How long requests took lately.
    """

    def __init__(
        self,
        sweeps: Sequence[Sweep],
        *,
        fetcher: PageFetcher,
        limiter: RateLimiter,
        settings: DispatchSettings,
        changed: Notifier,
        observer: Observer,
    ) -> None:
        self.pace = RequestPace()
        self._queue = _SweepQueue(sweeps)
        self._workers = _Workers(settings.workers)
        self._fetcher = fetcher
        self._limiter = limiter
        self._gate = settings.gate
        self._trusted_size = settings.trusted_size
        self._outage = Outage(settings.backoff, max_wait=settings.max_wait, uniform=settings.uniform)
        self._failures = FailureCounts(settings.backoff, settings.uniform)
        self._changed = changed
        self._observer = observer
        self._loop = anyio.CancelScope()
        self._fatal: BulkExportError | None = None

    async def run(self) -> None:
        """Fetch everything.

        Before it raises, responses on their way are given a moment to arrive and be stored.

        Raises:
            ServiceRefused: The service rejected a request for good.
            ServiceFailing: The service failed too often, or is away for too long.
            BulkExportError: The receiver of the pages raised it.
        """
        async with anyio.create_task_group() as tasks:
            with self._loop:
                try:
                    await self._dispatch(tasks)
                except BulkExportError as error:
                    self._abort(error)
            if self._fatal is not None:
                with anyio.move_on_after(_LAST_RESPONSES):
                    while self._workers.busy:
                        await self._changed.wait()
                tasks.cancel_scope.cancel()
        if self._fatal is not None:
            raise self._fatal

    @property
    def in_flight(self) -> int:
        """How many requests are on their way, or their responses being stored."""
        return self._workers.busy

    def shut_for(self) -> float:
        """Return the seconds for which nothing is sent, since the service is away."""
        return self._outage.shut_for(loop_time()) if self._outage.has_begun else 0.0

    def add(self, sweep: Sweep) -> None:
        """Fetch one more sweep, after all others."""
        self._queue.add(sweep)
        self._changed.notify_all()

    def close(self) -> None:
        """Announce that no more sweeps follow: `run` returns when all are complete."""
        self._queue.close()
        self._changed.notify_all()

    def stop_dispatching(self) -> None:
        """Send no more requests; `run` returns when the responses in flight have arrived."""
        self._loop.cancel()
        self._queue.stop()

    async def _dispatch(self, tasks: anyio.abc.TaskGroup) -> None:
        with TaskPool(tasks, self._fetch) as pool:
            while await self._work_appears():
                await self._gate.wait()
                if seconds := self.shut_for():
                    await anyio.sleep(seconds)
                    continue
                began = time.monotonic()
                permit = await self._limiter.acquire()
                logger.debug("Got a permit after %.2f s", time.monotonic() - began)
                # The permit may have been minutes away, and the window closed meanwhile, or the service gone.
                may_send = self._gate.is_open() and not self.shut_for()
                chosen = self._queue.next_page() if may_send else None
                if chosen is None:
                    await self._limiter.release(permit, RequestOutcome.UNSENT)
                    continue
                self._workers.busy += 1
                pool.start(permit, *chosen)

    async def _work_appears(self) -> bool:
        """Wait until a page can be requested. Return False once every sweep is complete."""
        while not self._queue.is_done():
            if self._workers.has_free and self._queue.has_work():
                return True
            await self._changed.wait()
        return False

    async def _fetch(self, permit: Permit, sweep: Sweep, page: int) -> None:
        """Request one page, and decide what follows."""
        sent_in, began, failure = self._outage.holds, loop_time(), None
        try:
            attempt = self._failures.of(sweep.key(page)) + 1
            response = await self._fetcher.request(permit, sweep, page, attempt=attempt)
            match response:
                case None:
                    pass
                case Throttled():
                    self._note_throttled(response)
                case RequestFailed(sent=False):
                    self._note_unreachable(response, sweep, page, sent_in)
                case RequestFailed():
                    failure = response
                case Response():
                    failure = await self._accept(response, sweep, page, sent_in)
            has_answered = isinstance(response, Response | RequestFailed)
            # Free an unusable body while its page waits for another attempt.
            del response
            if has_answered:
                self.pace.record(loop_time() - began, is_further=sweep.number > 0, has_arrived=failure is None)
            if failure is not None:
                await self._back_off(failure, sweep, page)
        except BulkExportError as error:
            self._abort(error)
        finally:
            self._workers.busy -= 1
            self._changed.notify_all()

    async def _accept(self, response: Response, sweep: Sweep, page: int, sent_in: int) -> RequestFailed | None:
        self._note_reached()
        if self._waits_for_return(response, sweep, page, sent_in):
            return None
        failure = await self._fetcher.accept(response, sweep, page)
        # A page that was requested before the service went away does not show that it is back.
        if failure is None and sent_in == self._outage.holds:
            self._workers.is_alone = False
            self._outage.over()
        return failure

    def _note_throttled(self, throttled: Throttled) -> None:
        self._note_reached()
        pause = self._outage.throttled(throttled.retry_after, throttled.pause, now=loop_time())
        logger.info("Throttled (429): nothing is sent for %.1f s, until %s", pause, _time_after(pause))
        self._fetcher.report_hold(pause, is_throttled=True)
        self._observer.throttled(pause)

    def _waits_for_return(self, response: Response, sweep: Sweep, page: int, sent_in: int) -> bool:
        """Whether the service announced when it will be back: then the page is requested again after that."""
        seconds = announced_seconds(response, wall=time.time()) if response.status in UNAVAILABLE else None
        if seconds is None:
            return False
        now = loop_time()
        wait = self._outage.announced(response.status, seconds, sweep.key(page), sent_in=sent_in, now=now)
        if wait is not None:
            reason = f"the service answered {response.status} and announced when it will be back"
            logger.info(
                "Unavailable (%d): nothing is sent for %.1f s, until %s", response.status, wait, _time_after(wait)
            )
            self._fetcher.report_hold(wait, is_throttled=False)
            self._observer.unavailable(reason, wait)
        self._retry_alone(sweep, page)
        return True

    def _note_unreachable(self, failure: RequestFailed, sweep: Sweep, page: int, sent_in: int) -> None:
        """Hold all requests: a failed connection concerns every page, so it does not count as a failure of this one."""
        if failure.final:
            error = ServiceFailing(f"The service cannot be reached: {failure.reason}.", next_step=failure.advice)
            error.may_pass = False
            raise error
        wait = self._outage.unreachable(failure.reason, sent_in=sent_in, now=loop_time())
        if wait is not None:
            logger.info("Unreachable (%s): nothing is sent for %.1f s", failure.reason, wait)
            self._fetcher.report_hold(wait, is_throttled=False)
            if self._outage.is_new_reason(failure.reason):
                self._observer.unavailable(failure.reason, wait)
            else:
                self._observer.still_unavailable(self._outage.failures, wait)
        self._retry_alone(sweep, page)

    def _retry_alone(self, sweep: Sweep, page: int) -> None:
        """Release a page that waits for the service. A single request then finds out whether the service is back."""
        self._fetcher.count_retry()
        self._workers.is_alone = True
        sweep.plan.release(page)

    def _note_reached(self) -> None:
        failures = self._outage.reached()
        if failures:
            logger.info("The service answers again after %d failed connections", failures)
            self._observer.available_again(failures)

    async def _back_off(self, failure: RequestFailed, sweep: Sweep, page: int) -> None:
        """Release a page after its backoff, during which its worker serves other pages."""
        key, name = sweep.key(page), sweep.endpoint.name
        delay = self._failures.next_delay(key)
        may_be_too_large = self._trusted_size is not None and sweep.page_size > self._trusted_size
        if may_be_too_large and (delay is None or self._failures.of(key) >= _FAILURES_OF_LARGE):
            raise self._too_large(sweep, page, failure)
        if failure.final or delay is None:
            failures = self._failures.of(key)
            times = "" if failures == 1 else f" {failures} times"
            error = ServiceFailing(
                f"Page {page} of {name} failed{times}, last: {failure.reason}.",
                next_step=failure.advice or "Run the same command again when the service answers.",
            )
            error.may_pass = not failure.final
            raise error
        logger.info("Retrying page %d of %s in %.1f s: %s", page, name, delay, failure.reason)
        self._fetcher.count_retry()
        self._observer.retrying(name, page, failure.reason, delay)
        with self._workers.backing_off():
            self._changed.notify_all()
            await anyio.sleep(delay)
        sweep.plan.release(page)

    def _too_large(self, sweep: Sweep, page: int, failure: RequestFailed) -> ServiceFailing:
        name = sweep.endpoint.name
        error = ServiceFailing(
            f"Page {page} of {name} failed {self._failures.of(sweep.key(page))} times, last: {failure.reason}.",
            next_step="Choose a smaller --page-size.",
        )
        error.large_page = name, sweep.page_size
        return error

    def _abort(self, error: BulkExportError) -> None:
        if self._fatal is None:
            self._fatal = error
        self._loop.cancel()


class _SweepQueue:
    """The sweeps of a run in the order in which they are served."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = list(sweeps)
        self._is_closed = False

    def add(self, sweep: Sweep) -> None:
        self._sweeps.append(sweep)

    def close(self) -> None:
        self._is_closed = True

    def stop(self) -> None:
        """Leave every page that was not requested yet for a later run."""
        for sweep in self._sweeps:
            sweep.horizon = 0

    def is_done(self) -> bool:
        return self._is_closed and all(sweep.plan.complete for sweep in self._sweeps)

    def has_work(self) -> bool:
        return any(sweep.plan.has_work(sweep.horizon) for sweep in self._sweeps)

    def next_page(self) -> tuple[Sweep, int] | None:
        """Choose a page, which is in flight from then on; None if no page is worth requesting now."""
        for sweep in self._sweeps:
            page = sweep.plan.next_page(sweep.horizon)
            if page is not None:
                return sweep, page
        return None


class _Workers:
    """How many requests are in flight and may be.

    `busy` workers handle a request or its response. While `is_alone`, until a page has arrived, there may be one.
    """

    def __init__(self, limit: int) -> None:
        self.busy = 0
        self.is_alone = True
        self._limit = limit
        self._backing_off = 0

    @property
    def has_free(self) -> bool:
        allowed = 1 if self.is_alone else self._limit
        return self.busy < allowed and self._backing_off < self._limit

    @contextlib.contextmanager
    def backing_off(self) -> Iterator[None]:
        """Free the worker of the caller, whose page waits out its backoff meanwhile."""
        self.busy -= 1
        self._backing_off += 1
        try:
            yield
        finally:
            self._backing_off -= 1
            self.busy += 1


def _time_after(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%H:%M:%SZ}"
