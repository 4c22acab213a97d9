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

from bulk_export.core.text import counted
from bulk_export.progress.console import Console, one_line
from bulk_export.progress.line_display import CountingProgress, pause_text
from bulk_export.progress.observer import ExportSummary, WindowUse
from bulk_export.progress.run_words import EXPORT, RunWords
from bulk_export.progress.summary import summary_lines
from bulk_export.progress.tally import EndpointTally, Tally, already_stored, clock_text, local_time, pages_text

_REFRESHES_PER_SECOND = 4
_NOTICE_SECONDS = 30.0
# Narrower terminals get less, and lines that are broken between words.
WIDE = 80


class RichProgress(CountingProgress):
    """Shows pages, records and rate of each endpoint, the use of each limit, and the time left.

    The last state stays on the screen, however the run ends.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        screen: RichConsole | None = None,
        clock: Callable[[], datetime] = local_time,
        words: RunWords = EXPORT,
    ) -> None:
        super().__init__(console, now, clock, words)
        self._screen = screen or RichConsole(file=console.stream)
        self._live: Live | None = None
        self._notice, self._shown_until = "", 0.0

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Show the display. A thread draws it, from counts that change on the event loop."""
        super().started(endpoints, output, windows)
        self._live = Live(get_renderable=self.render, console=self._screen, refresh_per_second=_REFRESHES_PER_SECOND)
        self._live.start(refresh=True)

    def resumed(self, pages: int) -> None:
        """Show how many pages are stored already."""
        self._note(f"going on with an interrupted {self._words.noun}: {already_stored(pages)}")

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
        super().outside_window(until)
        self._note(pause_text(until), (until - datetime.now(UTC)).total_seconds())

    def warned(self, message: str) -> None:
        """Print the warning above the display."""
        print_line(self._screen, f"warning: {message}")

    def tick(self) -> None:
        """Read the use of the limits and what is left, which must happen on the event loop."""
        if self._tally is not None:
            self._tally.refresh()

    def finished(self, summary: ExportSummary) -> None:
        """Print the summary below the display."""
        self.closed()
        for line in summary_lines(summary, self._screen.width):
            print_line(self._screen, line)

    def closed(self) -> None:
        """Draw the last state, and leave it on the screen."""
        if self._tally is not None:
            self._tally.stop()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self) -> RenderableType:
        """The current content of the display."""
        tally = self._tally
        if tally is None:
            return Text("")
        lines: list[RenderableType] = [self._endpoints(tally), *self._limits(tally)]
        spent = f"{counted(tally.requests, 'request')}, {tally.status()}."
        if tally.is_over:
            lines.append(Text(f"{clock_text(tally.elapsed)} in all, {spent}"))
        else:
            lines.append(Text(f"{clock_text(tally.elapsed)} so far, {spent} Ctrl-C stops; the same command goes on."))
        if self._now() < self._shown_until and not tally.is_over:
            lines.append(Text(self._notice, style="yellow"))
        return Group(*lines)

    def _note(self, text: str, shown_for: float = 0.0) -> None:
        self._notice, self._shown_until = one_line(text), self._now() + max(_NOTICE_SECONDS, shown_for)

    @property
    def _is_wide(self) -> bool:
        return self._screen.width >= WIDE

    def _endpoints(self, tally: Tally) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("endpoint", no_wrap=True, overflow="ellipsis")
        table.add_column("pages", justify="right", no_wrap=True)
        if self._is_wide:
            table.add_column("")
        table.add_column("records", justify="right", no_wrap=True)
        if self._is_wide:
            table.add_column("records/s", justify="right", no_wrap=True)
        counts = list(tally.endpoints.values())
        known = [pages_text(one) for one in counts]
        records = [f"{one.records:,}" for one in counts]
        # The names give way, not the numbers.
        for_names = self._screen.width - max(map(len, ["pages", *known])) - max(map(len, ["records", *records])) - 4
        for endpoint, pages, number in zip(counts, known, records, strict=True):
            rate = (endpoint.records - endpoint.earlier_records) / tally.elapsed if tally.elapsed else 0.0
            if self._is_wide:
                table.add_row(endpoint.name, pages, page_bar(endpoint), number, f"{rate:,.0f}")
            else:
                table.add_row(shortened(endpoint.name, for_names), pages, number)
        return table

    def _limits(self, tally: Tally) -> list[RenderableType]:
        rows = []
        for window in tally.windows:
            name = "service" if window.address is None else f"from {window.address}"
            free = "now" if window.next_free_in <= 0 else f"in {clock_text(window.next_free_in)}"
            rows.append((name, f"{window.used:,}/{window.limit:,} in {clock_text(window.period)}", free))
        if not self._is_wide:
            return [Text(f"{name}: {used}, next {free}") for name, used, free in rows]
        table = Table(box=None, pad_edge=False)
        for title in ("limit", "used", "next request"):
            table.add_column(title, justify="left" if title == "limit" else "right")
        for row in rows:
            table.add_row(*row)
        return [table]


def print_line(screen: RichConsole, text: str) -> None:
    """Print a line of text. A narrow screen gets it broken between words, a wide one as it is."""
    screen.print(Text(one_line(text)), soft_wrap=screen.width >= WIDE)


def shortened(name: str, width: int) -> str:
    """Return a name of at most `width` characters, visibly cut if it has more."""
    return name if len(name) <= width else name[: max(1, width - 1)] + "…"


def page_bar(endpoint: EndpointTally) -> ProgressBar:
    """A bar of the pages that are stored, which pulses while their number is unknown."""
    if endpoint.end is None:
        return ProgressBar(total=None, width=20, pulse=True)
    return ProgressBar(total=max(1, endpoint.end), completed=endpoint.pages if endpoint.end else 1, width=20)
