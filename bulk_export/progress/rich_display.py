"""Progress as a live display, for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bulk_export.progress.console import Console, one_line
from bulk_export.progress.line_display import CountingProgress, pause_text
from bulk_export.progress.observer import ExportSummary, WindowUse
from bulk_export.progress.summary import summary_lines
from bulk_export.progress.tally import EndpointTally, Tally, clock_text

_REFRESHES_PER_SECOND = 4
_NOTICE_SECONDS = 30.0


class RichProgress(CountingProgress):
    """Shows pages, records and rate of each endpoint, the use of each limit, and the time left."""

    def __init__(
        self, console: Console, now: Callable[[], float] = time.monotonic, screen: RichConsole | None = None
    ) -> None:
        super().__init__(console, now)
        self._screen = screen or RichConsole(file=console.stream)
        self._live: Live | None = None
        self._notice, self._shown_until = "", 0.0

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Show the display. A thread draws it, from counts that change on the event loop."""
        super().started(endpoints, output, windows)
        self._live = Live(
            get_renderable=self.render, console=self._screen, refresh_per_second=_REFRESHES_PER_SECOND, transient=True
        )
        self._live.start(refresh=True)

    def resumed(self, pages: int) -> None:
        """Show how many pages are stored already."""
        self._note(f"{pages} pages are stored already from an interrupted run")

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """Show that the endpoint is read again."""
        self._note(f"{endpoint}: re-reading to catch missed records (pass {sweep})")

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """Show what failed last."""
        self._note(f"{endpoint} page {page}: {reason}; again in {delay:.1f} s")

    def throttled(self, pause: float) -> None:
        """Show that the service throttled a request."""
        self._note(f"the service answered 429; next attempt in {clock_text(pause)}", pause)

    def unavailable(self, reason: str, pause: float) -> None:
        """Show why nothing is sent."""
        super().unavailable(reason, pause)
        self._note(f"{reason}; next attempt in {clock_text(pause)}", pause)

    def outside_window(self, until: datetime) -> None:
        """Show, until then, when the export goes on."""
        self._note(pause_text(until), (until - datetime.now(UTC)).total_seconds())

    def warned(self, message: str) -> None:
        """Print the warning above the display."""
        self._screen.print(Text(f"warning: {one_line(message)}"), soft_wrap=True)

    def tick(self) -> None:
        """Read the use of the limits, which must happen on the event loop."""
        if self._tally is not None:
            self._tally.refresh_limits()

    def finished(self, summary: ExportSummary) -> None:
        """Print the summary in place of the display."""
        self.closed()
        for line in summary_lines(summary):
            self._screen.print(Text(one_line(line)), soft_wrap=True)

    def closed(self) -> None:
        """Remove the display."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self) -> RenderableType:
        """The current content of the display."""
        tally = self._tally
        if tally is None:
            return Text("")
        lines: list[RenderableType] = [self._endpoints(tally), self._limits(tally)]
        so_far = f"{clock_text(tally.elapsed)} so far, {tally.requests:,} requests"
        lines.append(Text(f"{so_far}, {tally.status()}. Ctrl-C stops; the same command goes on."))
        if self._now() < self._shown_until:
            lines.append(Text(self._notice, style="yellow"))
        return Group(*lines)

    def _note(self, text: str, shown_for: float = 0.0) -> None:
        self._notice, self._shown_until = one_line(text), self._now() + max(_NOTICE_SECONDS, shown_for)

    def _endpoints(self, tally: Tally) -> Table:
        table = Table(box=None, pad_edge=False)
        for title in ("endpoint", "pages", "", "records", "records/s"):
            table.add_column(title, justify="left" if title in ("endpoint", "") else "right")
        for endpoint in tally.endpoints.values():
            rate = (endpoint.records - endpoint.earlier_records) / tally.elapsed if tally.elapsed else 0.0
            known = f"{endpoint.pages}/{endpoint.end}" if endpoint.end is not None else f"{endpoint.pages}/?"
            table.add_row(endpoint.name, known, page_bar(endpoint), f"{endpoint.records:,}", f"{rate:,.0f}")
        return table

    def _limits(self, tally: Tally) -> Table:
        table = Table(box=None, pad_edge=False)
        for title in ("limit", "used", "next request"):
            table.add_column(title, justify="left" if title == "limit" else "right")
        for window in tally.windows:
            name = "service" if window.address is None else f"from {window.address}"
            free = "now" if window.next_free_in <= 0 else f"in {clock_text(window.next_free_in)}"
            table.add_row(name, f"{window.used}/{window.limit} in {clock_text(window.period)}", free)
        return table


def page_bar(endpoint: EndpointTally) -> ProgressBar:
    """A bar of the pages that are stored, which pulses while their number is unknown."""
    if endpoint.end is None:
        return ProgressBar(total=None, width=20, pulse=True)
    return ProgressBar(total=max(1, endpoint.end), completed=endpoint.pages if endpoint.end else 1, width=20)
