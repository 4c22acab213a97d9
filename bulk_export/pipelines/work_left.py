"""What is left of a running export, measured: the pages that are missing, how long requests take, and the limits.

The number of requests follows the same rules as `bulk-export plan`; `progress.time_left` makes seconds of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from bulk_export.core.daily_window import Window
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.pace import RecentMean
from bulk_export.extract.rate_limit import RateLimiter
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.request_counts import EndpointLoad, least_requests
from bulk_export.progress.run_state import RunState
from bulk_export.progress.time_left import Stage, WorkLeft

# The latency of requests before the first response, in seconds.
_USUAL_LATENCY = 0.5
# How far ahead the daily window is looked up: longer runs are announced as that long at least.
_DAYS_AHEAD = 14


class ListConversion(Protocol):
    """The conversion of one endpoint, as far as its progress matters here."""

    @property
    def sweep(self) -> Sweep:
        """The first sweep."""

    @property
    def finished(self) -> bool:
        """Whether everything is written."""

    @property
    def written_pages(self) -> int:
        """How many pages are written."""

    @property
    def is_settled(self) -> bool:
        """Whether no further sweep can follow."""


@dataclass(frozen=True, slots=True)
class WorkSettings:
    """The options of a run that decide how much is left, and how fast it goes.

    Attributes:
        workers: The largest number of requests in flight.
        min_interval: The least time between two requests, in seconds.
        consistent: Whether each endpoint is swept again.
        asks_twice: Whether a first sweep of one response is confirmed by another one.
        window: The daily window in which requests are sent, None for always.
        clock: Gives the current time in UTC.
    """

    workers: int
    min_interval: float
    consistent: bool
    asks_twice: bool
    window: Window | None
    clock: Callable[[], datetime]


class WorkMeter:
    """Measures what is left of a run. All of it happens on the event loop.

    Args:
        conversions: One for each endpoint.
        dispatcher: Fetches their pages.
        limiter: Grants the permits.
        settings: The options that matter here.
    """

    def __init__(
        self,
        conversions: Sequence[ListConversion],
        dispatcher: Dispatcher,
        limiter: RateLimiter,
        settings: WorkSettings,
    ) -> None:
        self._conversions = conversions
        self._dispatcher = dispatcher
        self._limiter = limiter
        self._settings = settings
        self._further: dict[str, Sweep] = {}
        self._writing = RecentMean()
        self._closings = _closings(settings.window, settings.clock()) if settings.window is not None else ()

    def begin_sweep(self, sweep: Sweep) -> None:
        """Note that an endpoint is swept again."""
        self._further[sweep.endpoint.name] = sweep

    def record_writing(self, pages: int, seconds: float) -> None:
        """Record how long pages took to be written."""
        if pages:
            self._writing.add(seconds / pages)

    def state(self) -> RunState:
        """Return what the run does, and what is left."""
        first, further = self._first_sweeps(), self._further_sweeps()
        limiter, work, least = self._limiter, None, None
        if first is not None:
            work = self._work(sum(first), further)
        else:
            least = self._work(sum(_known_requests(conversion.sweep) for conversion in self._conversions), further)
        rereading = next(
            ((name, sweep.number) for name, sweep in self._further.items() if not sweep.plan.complete), None
        )
        is_read_once = all(conversion.sweep.plan.complete for conversion in self._conversions)
        return RunState(
            work,
            least,
            uncounted=sum(not _is_counted(conversion.sweep) for conversion in self._conversions),
            rereading=rereading if is_read_once else None,
            is_fetched=is_read_once and not sum(further),
            held_for=limiter.held_for(),
            ceiling=limiter.ceiling(),
            closed=self._closed(),
        )

    def _work(self, requests: int, further: Sequence[int]) -> WorkLeft:
        dispatcher, settings = self._dispatcher, self._settings
        pace, in_flight = dispatcher.pace, dispatcher.in_flight
        more = pace.requests_per_page
        stages = [self._stage(_more(requests, more), settings.workers, is_further=False)]
        if count := sum(further):
            # Each sweep reads one page after the other, several of them side by side.
            at_once = min(settings.workers, count / max(further))
            stages.append(self._stage(_more(count, more), at_once, is_further=True))
        latency = stages[0].latency if requests else stages[-1].latency
        throttled = self._limiter.held_for()
        return WorkLeft(
            tuple(_without_sent(stages, in_flight)),
            self._limiter.forecast(latency / 2),
            # After a 429, a single request finds out whether it is over.
            held_for=max(throttled + latency if throttled else 0.0, dispatcher.shut_for()),
            ceiling=self._limiter.ceiling(),
            arriving=latency / 2 if in_flight else 0.0,
            backlog=self._unwritten_pages() * self._writing.value,
        )

    def _stage(self, requests: int, at_once: float, *, is_further: bool) -> Stage:
        latency = self._dispatcher.pace.seconds(is_further=is_further) or _USUAL_LATENCY
        interval = max(latency / max(1.0, at_once), self._settings.min_interval)
        return Stage(requests, interval, latency, 0.0 if is_further else self._writing.value)

    def _first_sweeps(self) -> list[int] | None:
        """Return the requests that the first sweep of each endpoint still takes; None if no size is known."""
        sizes = [conversion.sweep.plan.likely_pages for conversion in self._conversions if conversion.sweep.is_paged]
        known = [size for size in sizes if size is not None]
        if sizes and not known:
            return None
        usual = math.ceil(sum(known) / len(known)) if known else 1
        return [_requests(conversion.sweep, usual) for conversion in self._conversions]

    def _further_sweeps(self) -> list[int]:
        return [self._further_requests(conversion) for conversion in self._conversions]

    def _further_requests(self, conversion: ListConversion) -> int:
        """Return the requests that further sweeps over an endpoint still take if they agree at once."""
        first = conversion.sweep
        name, plan = first.endpoint.name, first.plan
        current = self._further.get(name)
        if conversion.is_settled or plan.sample is not None or not (self._settings.consistent or current):
            return 0
        records = plan.records if plan.end is not None else (plan.likely_pages or plan.known_pages) * plan.page_size
        size = first.page_size if first.is_paged else None
        again = first.endpoint.paging.largest or first.page_size
        load = EndpointLoad(records, size, again, asks_twice=self._settings.asks_twice or current is not None)
        each = least_requests(records, again) if first.is_paged else 1
        sweeps = (load.requests - replace(load, sweep_again=None).requests) // each
        if current is None:
            return sweeps * each
        left = 0 if current.plan.complete else max(1, each - current.plan.pages)
        return left + max(0, sweeps - current.number) * each

    def _unwritten_pages(self) -> int:
        return sum(
            max(0, conversion.sweep.plan.pages - conversion.written_pages)
            for conversion in self._conversions
            if not conversion.finished
        )

    def _closed(self) -> tuple[tuple[float, float], ...]:
        if not self._closings:
            return ()
        now = self._settings.clock()
        return tuple(
            ((begin - now).total_seconds(), (end - now).total_seconds()) for begin, end in self._closings if end > now
        )


def _is_counted(sweep: Sweep) -> bool:
    return not sweep.is_paged or sweep.plan.likely_pages is not None


def _requests(sweep: Sweep, usual: int) -> int:
    """Return the requests that a sweep still takes; if nothing is known of its size, it has the `usual` one."""
    plan = sweep.plan
    if plan.complete:
        return 0
    if not sweep.is_paged:
        return 1
    likely = plan.likely_pages
    pages = max(usual, plan.known_pages + 1) if likely is None else likely
    # An empty page has to prove the end.
    return max(1, pages - plan.pages + (plan.end is None))


def _known_requests(sweep: Sweep) -> int:
    """Return the requests that a sweep of unknown size takes at least."""
    return 0 if sweep.plan.complete else max(1, sweep.plan.known_pages - sweep.plan.pages)


def _more(requests: int, times: float) -> int:
    return math.ceil(requests * times - 0.5) if requests else 0


def _without_sent(stages: Iterable[Stage], in_flight: int) -> list[Stage]:
    """Return the stages without the requests that are in flight already."""
    left = []
    for stage in stages:
        sent = min(in_flight, stage.requests)
        in_flight -= sent
        left.append(replace(stage, requests=stage.requests - sent))
    return left


def _closings(window: Window, now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Return when a daily window is closed in the next days."""
    closings, moment = [], now
    while moment < now + timedelta(days=_DAYS_AHEAD):
        begin = window.closes_at(moment)
        moment = window.next_opening(begin)
        closings.append((begin, moment))
    return tuple(closings)
