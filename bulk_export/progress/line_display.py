"""Progress as a line now and then, for pipes and log files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from bulk_export.progress.console import Console
from bulk_export.progress.observer import ExportSummary, Observer, WindowUse
from bulk_export.progress.summary import remarks, summary_lines
from bulk_export.progress.tally import Tally, clock_text

_EVERY = 10.0


class SilentProgress(Observer):
    """Says nothing but warnings."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def warned(self, message: str) -> None:
        """One line for a warning."""
        self._console.line(message, level="warning")


def pause_text(until: datetime) -> str:
    """That a run pauses until its window opens, in words."""
    return f"outside of the window: pausing until {until.strftime('%Y-%m-%d %H:%M:%S')} UTC; all that arrived is kept"


class CountingProgress(SilentProgress):
    """Counts, and leaves the showing to others."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._now = now
        self._tally: Tally | None = None

    def started(
        self, endpoints: Sequence[str], output: Path | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Begin at nothing."""
        self._tally = Tally(endpoints, windows, self._now)

    def resumed_endpoint(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Begin where an interrupted run stopped."""
        if self._tally is not None:
            self._tally.resumed(endpoint, pages, records, end)

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count."""
        if self._tally is not None:
            self._tally.page(endpoint, records)

    def end_found(self, endpoint: str, pages: int) -> None:
        """Remember."""
        if self._tally is not None:
            self._tally.endpoints[endpoint].end = pages

    def request_sent(self, endpoint: str) -> None:
        """Count."""
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


class LineProgress(CountingProgress):
    """A line at the start, every ten seconds at most, for each end found, each retry and refusal, and a summary."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, now)
        self._last = now()

    def started(
        self, endpoints: Sequence[str], output: Path | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Name the endpoints and the directory."""
        super().started(endpoints, output, windows)
        self._last = self._now()
        self._console.line(f"exporting {', '.join(endpoints)}" + (f" into {output}" if output else ""))

    def resumed(self, pages: int) -> None:
        """Say what is there already."""
        self._console.line(f"going on with an interrupted export: {pages} pages are there already", pages=pages)

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count, and speak if it is time."""
        super().page_stored(endpoint, page, records)
        self.tick()

    def end_found(self, endpoint: str, pages: int) -> None:
        """Say how many pages there are."""
        super().end_found(endpoint, pages)
        self._console.line(f"{endpoint}: {pages} pages in all", endpoint=endpoint, pages=pages)

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """Say that the endpoint is read once more."""
        self._console.line(f"{endpoint}: reading once more, for what was missed ({sweep})", endpoint=endpoint)

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """Say what failed."""
        self._console.line(f"{endpoint} page {page}: {reason}; again in {delay:.1f} s", level="warning")

    def throttled(self, pause: float) -> None:
        """Say that the service refused."""
        self._console.line(f"the service answered 429; next attempt in {clock_text(pause)}", level="warning")

    def unavailable(self, reason: str, pause: float) -> None:
        """Say that the service is away."""
        super().unavailable(reason, pause)
        self._console.line(f"{reason}; next attempt in {clock_text(pause)}", level="warning")

    def available_again(self, failures: int) -> None:
        """Say that it is back, and how often it was not."""
        self._console.line(f"the service can be reached again ({failures} attempts failed)")

    def outside_window(self, until: datetime) -> None:
        """Say when it goes on."""
        self._console.line(pause_text(until), paused_until=until.isoformat())

    def tick(self) -> None:
        """A line on how far it has come, unless the last one was a moment ago."""
        if self._tally is None or self._now() - self._last < _EVERY:
            return
        self._last = self._now()
        tally = self._tally
        tally.look()
        pages = f"{tally.pages} pages" if tally.end is None else f"{tally.pages} of {tally.end} pages"
        self._console.line(
            f"{pages}, {tally.records:,} records, {tally.requests} requests, {tally.state()}",
            pages=tally.pages,
            end=tally.end,
            records=tally.records,
            requests=tally.requests,
            seconds_left=tally.seconds_left(),
            waiting=tally.waiting(),
        )

    def finished(self, summary: ExportSummary) -> None:
        """The summary, as a table or as one object."""
        if self._console.form == "json":
            self._console.line(
                "finished",
                output=str(summary.output),
                records={one.name: one.records for one in summary.endpoints},
                files=sum(one.files for one in summary.endpoints),
                bytes=sum(one.bytes for one in summary.endpoints),
                requests=summary.requests,
                retries=summary.retries,
                throttled=summary.throttled,
                resumed=summary.resumed,
                seconds=round(summary.seconds, 3),
                remarks=remarks(summary),
            )
            return
        for line in summary_lines(summary):
            self._console.line(line)
