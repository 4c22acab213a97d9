"""Progress as lines, for pipes and log files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from bulk_export.core.text import counted
from bulk_export.progress.console import Console
from bulk_export.progress.observer import ExportSummary, Observer, WindowUse
from bulk_export.progress.run_state import RunState
from bulk_export.progress.run_words import EXPORT, RunWords
from bulk_export.progress.summary import completeness_remarks, summary_lines, summary_object
from bulk_export.progress.tally import Tally, already_stored, clock_text, local_time

_SECONDS_BETWEEN_LINES = 10.0


class SilentProgress(Observer):
    """Writes warnings only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def warned(self, message: str) -> None:
        """Write the warning."""
        self._console.line(message, level="warning")

    def not_delivered(self, message: str) -> None:
        """Write the warning, unless only those on records are wanted."""
        if not self._console.is_quiet:
            self.warned(message)

    def finished(self, summary: ExportSummary) -> None:
        """Write that a record may be missing, if so."""
        for remark in completeness_remarks(summary):
            self._console.line(remark, level="warning")


def pause_text(until: datetime) -> str:
    """The message of a run that waits for its daily window."""
    return f"outside of the window: pausing until {until.strftime('%Y-%m-%d %H:%M:%S')} UTC; all that arrived is kept"


class CountingProgress(SilentProgress):
    """Counts the events, for displays to show. Warnings are written."""

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = local_time,
        words: RunWords = EXPORT,
    ) -> None:
        super().__init__(console)
        self._words = words
        self._now = now
        self._clock = clock
        self._tally: Tally | None = None

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Begin to count."""
        self._tally = Tally(endpoints, windows, self._now, self._clock)

    def running(self, state: Callable[[], RunState]) -> None:
        """Read what is left from now on."""
        if self._tally is not None:
            self._tally.read_from(state)

    def resumed_endpoint(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Count the stored pages of an interrupted run."""
        if self._tally is not None:
            self._tally.add_resumed(endpoint, pages, records, end)

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count the page."""
        if self._tally is not None:
            self._tally.add_page(endpoint, records)

    def end_found(self, endpoint: str, pages: int) -> None:
        """Remember the number of pages."""
        if self._tally is not None:
            self._tally.endpoints[endpoint].end = pages

    def request_sent(self, endpoint: str) -> None:
        """Count the request."""
        if self._tally is not None:
            self._tally.requests += 1

    def unavailable(self, reason: str, pause: float) -> None:
        """Remember until when nothing is sent."""
        if self._tally is not None:
            self._tally.away_for(pause)

    def still_unavailable(self, failures: int, pause: float) -> None:
        """Remember until when nothing is sent."""
        if self._tally is not None:
            self._tally.away_for(pause)

    def outside_window(self, until: datetime) -> None:
        """Remember until when nothing is sent."""
        if self._tally is not None:
            self._tally.pause_until(until)


class LineProgress(CountingProgress):
    """Writes a line every ten seconds at most, and at once for ends, retries and throttling; a summary at the end.

    Each line of a running export begins with the time of day.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = local_time,
        words: RunWords = EXPORT,
    ) -> None:
        super().__init__(console, now, clock, words)
        self._last = now()

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Write the endpoints and the directory."""
        super().started(endpoints, output, windows)
        self._last = self._now()
        self._line(f"{self._words.doing} {', '.join(endpoints)}" + (f" into {output}" if output else ""))

    def resumed(self, pages: int) -> None:
        """Write how many pages are stored already."""
        self._line(f"going on with an interrupted {self._words.noun}: {already_stored(pages)}", pages=pages)

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count the page, and write a line if it is time."""
        super().page_stored(endpoint, page, records)
        self.tick()

    def end_found(self, endpoint: str, pages: int) -> None:
        """Write how many pages there are."""
        super().end_found(endpoint, pages)
        self._line(self._words.pages(endpoint, pages), endpoint=endpoint, pages=pages)

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """Write that the endpoint is read again."""
        self._line(f"{endpoint}: re-reading to catch missed records (pass {sweep})", endpoint=endpoint)

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """Write what failed."""
        self._line(f"{endpoint} page {page}: {reason}; again in {delay:.1f} s", level="warning")

    def throttled(self, pause: float) -> None:
        """Write that the service throttled a request."""
        self._line(f"the service answered 429; next attempt in {clock_text(pause)}", level="warning")

    def unavailable(self, reason: str, pause: float) -> None:
        """Write that the service cannot be reached."""
        super().unavailable(reason, pause)
        self._line(f"{reason}; next attempt in {clock_text(pause)}", level="warning")

    def available_again(self, failures: int) -> None:
        """Write that it can be reached again."""
        self._line(f"the service can be reached again ({counted(failures, 'attempt')} failed)")

    def outside_window(self, until: datetime) -> None:
        """Write when the export goes on."""
        super().outside_window(until)
        self._line(pause_text(until), paused_until=until.isoformat())

    def warned(self, message: str) -> None:
        """Write the warning."""
        self._line(message, level="warning")

    def tick(self) -> None:
        """Write the progress, unless the last line was written less than ten seconds ago."""
        if self._tally is None or self._now() - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last = self._now()
        tally = self._tally
        tally.refresh()
        activity, left = tally.activity(), tally.seconds_left()
        pages = counted(tally.pages, "page")
        if tally.end is not None:
            pages = f"{tally.pages:,} of {counted(tally.end, 'page')}"
        self._line(
            f"{pages}, {counted(tally.records, 'record')}, {counted(tally.requests, 'request')}, {tally.status()}",
            pages=tally.pages,
            end=tally.end,
            records=tally.records,
            requests=tally.requests,
            seconds_left=None if left is None else round(left, 1),
            waiting=tally.seconds_to_next_request(),
            state=activity.word,
            until=activity.until.isoformat() if activity.until is not None else None,
        )

    def _line(self, message: str, *, level: str = "info", **fields: object) -> None:
        self._console.line_at(self._clock(), message, level, fields)

    def finished(self, summary: ExportSummary) -> None:
        """Write the summary, as a table or as one object."""
        if self._console.form == "json":
            self._console.line("finished", **summary_object(summary))
            return
        for line in summary_lines(summary, self._console.width):
            self._console.line(line)
