"""The progress of an export, counted from its events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bulk_export.core.text import counted
from bulk_export.progress.observer import WindowUse
from bulk_export.progress.run_state import RunState
from bulk_export.progress.time_left import Stage, WindowForecast, WorkLeft

# Waits for a permit that are shorter are not worth a word.
_SHORTEST_WAIT = 1.0
# Nor is what a run takes at least, if it is less than this.
_SHORTEST_LEAST = 10.0


def local_time() -> datetime:
    """Return the current time in the time zone of this machine."""
    return datetime.now().astimezone()


@dataclass(slots=True)
class EndpointTally:
    """Counts of one endpoint: pages with records, and their records.

    The `earlier` ones are those of interrupted runs, which `pages` and `records` include. `end` is the number of pages
    once it is known.
    """

    name: str
    pages: int = 0
    records: int = 0
    earlier_pages: int = 0
    earlier_records: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """What an export does: a word for machines, text for people, and when it does something else, if that is known."""

    word: str
    text: str
    until: datetime | None = None


class Tally:
    """Counts of all endpoints, and the time left.

    Args:
        names: The endpoints.
        windows: Reads the use of the limits. It is called by `refresh` only.
        now: A monotonic clock in seconds.
        clock: Gives the time of day.
    """

    def __init__(
        self,
        names: Sequence[str],
        windows: Callable[[], Sequence[WindowUse]],
        now: Callable[[], float],
        clock: Callable[[], datetime] = local_time,
    ) -> None:
        self.endpoints = {name: EndpointTally(name) for name in names}
        self.requests = 0
        self._windows = windows
        self._read_state: Callable[[], RunState] | None = None
        self._state = RunState()
        self._left: float | None = None
        self._least = 0.0
        self._now = now
        self._clock = clock
        self._began = now()
        self._ended: float | None = None
        self._unavailable_until = self._began
        self._paused_until: datetime | None = None
        self.refresh()

    def away_for(self, pause: float) -> None:
        """Note that nothing is sent for some seconds, since the service cannot be reached."""
        self._unavailable_until = self._now() + pause

    def pause_until(self, moment: datetime) -> None:
        """Note that nothing is sent before an aware moment, since the daily window is closed."""
        self._paused_until = moment

    def read_from(self, state: Callable[[], RunState]) -> None:
        """Read what is left of the run from a function, which is called by `refresh` only."""
        self._read_state = state
        self.refresh()

    def refresh(self) -> None:
        """Read the use of the limits and what is left.

        Call this on the event loop, once a second at most; everything else may be called in any thread.
        """
        self._uses, self._seen = tuple(self._windows()), self._now()
        if self._read_state is not None:
            self._state = self._read_state()
            self._left, self._least = self._state.seconds_left(), self._state.least_seconds()

    def stop(self) -> None:
        """Read everything once more, and let the clocks stand still: the run is over."""
        if self._ended is None:
            self.refresh()
            self._ended = self._now()

    def add_resumed(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Count what an interrupted run stored."""
        counts = self.endpoints[endpoint]
        counts.pages = counts.earlier_pages = pages
        counts.records = counts.earlier_records = records
        counts.end = end

    def add_page(self, endpoint: str, records: int) -> None:
        """Count a page. One without records only helped to find the end, and counts as none."""
        self.endpoints[endpoint].pages += records > 0
        self.endpoints[endpoint].records += records

    @property
    def pages(self) -> int:
        """The pages with records that are stored."""
        return sum(endpoint.pages for endpoint in self.endpoints.values())

    @property
    def records(self) -> int:
        """The records that are stored."""
        return sum(endpoint.records for endpoint in self.endpoints.values())

    @property
    def end(self) -> int | None:
        """The pages of all endpoints, None while an end is unknown."""
        ends = [endpoint.end for endpoint in self.endpoints.values()]
        known = [end for end in ends if end is not None]
        return sum(known) if len(known) == len(ends) else None

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._ended is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the start of this run, until its end."""
        return (self._now() if self._ended is None else self._ended) - self._began

    @property
    def windows(self) -> list[WindowUse]:
        """The limits as they were read last, with waits that end earlier by the time since then."""
        uses, passed = self._uses, self._passed()
        return [
            WindowUse(use.address, use.limit, use.period, use.used, max(0.0, use.next_free_in - passed)) for use in uses
        ]

    def seconds_left(self) -> float | None:
        """Seconds until everything is fetched and written, None while the size of no endpoint is known."""
        if self._read_state is None:
            return self._counted_state().seconds_left()
        return None if self._left is None else max(0.0, self._left - self._passed())

    def seconds_to_next_request(self) -> float:
        """Seconds until the limits allow a request, 0.0 if they allow one now."""
        windows = self.windows
        common = [window.next_free_in for window in windows if window.address is None]
        addresses = [window.next_free_in for window in windows if window.address is not None]
        return max(max(common, default=0.0), min(addresses, default=0.0))

    def activity(self) -> Activity:
        """What the export does now."""
        state = self._counted_state() if self._read_state is None else self._state
        moment = self._clock()
        unavailable, held = self._unavailable_until - self._seen - self._passed(), state.held_for - self._passed()
        wait = self.seconds_to_next_request()
        # 1. Nothing can be sent.
        if self._paused_until is not None and moment < self._paused_until:
            until = self._paused_until.astimezone(moment.tzinfo)
            return Activity("outside-window", f"outside of the daily window until {until:%H:%M:%S}", until)
        if unavailable > 0:
            return Activity(
                "away",
                f"the service is away; next attempt in {clock_text(unavailable)}",
                moment + timedelta(seconds=unavailable),
            )
        if held > 0:
            until = moment + timedelta(seconds=held)
            return Activity("throttled", f"stopped by a 429 until {until:%H:%M:%S}", until)
        # 2. Everything is here.
        if state.is_fetched:
            return Activity("writing", "all pages are here, writing the rest")
        # 3. Requests are sent, as fast as the limits and the service allow.
        if wait >= _SHORTEST_WAIT:
            until = moment + timedelta(seconds=wait)
            text = f"waiting for a permit until {until:%H:%M:%S} ({clock_text(wait)})"
            return Activity("waiting", text + self._slowed(state, moment), until)
        if state.rereading is not None:
            endpoint, number = state.rereading
            return Activity("re-reading", f"re-reading {endpoint} (pass {number})" + self._slowed(state, moment))
        if self.seconds_left() is None:
            return Activity("counting", "counting pages" + self._slowed(state, moment))
        return Activity("fetching", "fetching" + self._slowed(state, moment))

    def status(self) -> str:
        """What the export is doing and how long that takes, in words."""
        text, left = self.activity().text, self.seconds_left()
        if self.is_over:
            return "all pages are here" if self.activity().word == "writing" else f"ended while {text}"
        if left is None:
            least = self._least - self._passed()
            return text if least < _SHORTEST_LEAST else f"{text}; at least {clock_text(least)} left"
        # Less than half a second would be none.
        if left < 0.5:
            return text
        uncounted = 0 if self._read_state is None else self._state.uncounted
        rest = f", with {counted(uncounted, 'endpoint')} not counted yet" if uncounted else ""
        return f"{text}; about {clock_text(left)} left{rest}"

    def _passed(self) -> float:
        return (self._now() if self._ended is None else self._ended) - self._seen

    def _slowed(self, state: RunState, moment: datetime) -> str:
        """What a 429 has left: to how many requests, and until when."""
        service = next((use for use in self._uses if use.address is None), None)
        if state.ceiling is None or service is None:
            return ""
        ceiling, passed = state.ceiling, self._passed()
        # What the addresses may not use anyway is not missed.
        addresses = [use.limit for use in self._uses if use.address is not None and use.period >= service.period]
        limit = min(service.limit, sum(addresses) or service.limit)
        reached = int(ceiling.at(passed))
        if reached >= limit:
            return ""
        until = moment + timedelta(seconds=ceiling.reaches_in(limit) - passed)
        ceiling_text = f"{counted(reached, 'request')} in {clock_text(service.period)}"
        return f", slowed down after a 429 to {ceiling_text} until {until:%H:%M}"

    def _counted_state(self) -> RunState:
        """What is left as far as events tell, for runs that do not measure it."""
        if self.end is None:
            return RunState()
        left = max(0, self.end - self.pages)
        fetched = sum(counts.pages - counts.earlier_pages for counts in self.endpoints.values())
        pace = self.elapsed / max(1, fetched)
        windows = self.windows
        service = [_forecast([use]) for use in windows if use.address is None]
        addresses = _forecast([use for use in windows if use.address is not None])
        work = WorkLeft((Stage(left, pace, pace),), (*service, *([addresses] if addresses.limit else [])))
        return RunState(work, is_fetched=left == 0)


def _forecast(uses: Sequence[WindowUse]) -> WindowForecast:
    """The windows of some addresses as one; all requests that count now are taken to end together."""
    free_in = min((use.next_free_in for use in uses), default=0.0)
    period = max((use.period for use in uses), default=0.0)
    used = sum(use.used for use in uses)
    return WindowForecast(sum(use.limit for use in uses), period, (free_in or period,) * used)


def pages_text(endpoint: EndpointTally) -> str:
    """The pages of an endpoint in a table: `1,138/1,334`, with a question mark while their number is unknown."""
    return f"{endpoint.pages:,}/{'?' if endpoint.end is None else f'{endpoint.end:,}'}"


def already_stored(pages: int) -> str:
    """What an interrupted run left: `40 pages are stored already`."""
    if pages == 0:
        return "no page is stored yet"
    return f"{counted(pages, 'page')} {'is' if pages == 1 else 'are'} stored already"


def clock_text(seconds: float) -> str:
    """Format seconds as `7 s`, `4 min 05 s` or `2 h 03 min`."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02} s"
    return f"{total // 3600} h {total % 3600 // 60:02} min"


def bytes_text(size: int) -> str:
    """Format a number of bytes as `812 B` or `1.2 MB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
