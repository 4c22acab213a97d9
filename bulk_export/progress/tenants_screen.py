"""The live display of several exports at once, for terminals."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console as RichConsole
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bulk_export.core.text import counted
from bulk_export.progress.console import Console, one_line
from bulk_export.progress.line_display import CountingProgress, pause_text
from bulk_export.progress.observer import ExportSummary, Observer, WindowUse
from bulk_export.progress.rich_display import WIDE, page_bar, print_line, shortened
from bulk_export.progress.run_state import RunState
from bulk_export.progress.run_words import EXPORT, RunWords
from bulk_export.progress.summary import finished_text, remarks
from bulk_export.progress.tally import EndpointTally, Tally, already_stored, clock_text, pages_text

_REFRESHES_PER_SECOND = 4
_NOTICE_SECONDS = 30.0
# More rows than this would not fit the height of a terminal.
_MOST_ROWS = 16


class TenantsScreen:
    """Shows the endpoints that are being read, by tenant, the use of each token's limit, and what is finished.

    Args:
        console: Where to write.
        now: A monotonic clock in seconds.
        screen: The terminal; tests replace it.
        words: What the run of a tenant is called.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        screen: RichConsole | None = None,
        words: RunWords = EXPORT,
    ) -> None:
        self.words = words
        self.screen = screen or RichConsole(file=console.stream)
        self.now = now
        self._console = console
        self._began = now()
        self._live: Live | None = None
        self._tallies: dict[str, Tally] = {}
        self._ended = 0
        self._notice, self._shown_until = "", 0.0

    def observer_of(self, tenant: str) -> Observer:
        """Return the observer of one tenant."""
        return _TenantOnScreen(self, self._console, tenant)

    def show(self, tenant: str, tally: Tally) -> None:
        """Show a tenant from now on. A thread draws the display, from counts that change on the event loop."""
        self._tallies = {**self._tallies, tenant: tally}
        if self._live is None:
            self._live = Live(
                get_renderable=self.render,
                console=self.screen,
                refresh_per_second=_REFRESHES_PER_SECOND,
                transient=True,
            )
            self._live.start(refresh=True)

    def remove(self, tenant: str) -> None:
        """Show a tenant no more."""
        if tenant in self._tallies:
            self._tallies = {name: tally for name, tally in self._tallies.items() if name != tenant}
            self._ended += 1

    def note(self, tenant: str, text: str, shown_for: float = 0.0) -> None:
        """Show a text for a while."""
        self._notice = one_line(f"{tenant}: {text}")
        self._shown_until = self.now() + max(_NOTICE_SECONDS, shown_for)

    def print(self, text: str) -> None:
        """Print a line above the display."""
        print_line(self.screen, text)

    def close(self) -> None:
        """Remove the display."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def render(self) -> RenderableType:
        """The current content of the display."""
        tallies = self._tallies
        rows = [(tenant, tally, endpoint) for tenant, tally in tallies.items() for endpoint in _being_read(tally)]
        table = self._table(rows[:_MOST_ROWS])
        lines: list[RenderableType] = [table]
        if len(rows) > _MOST_ROWS:
            lines.append(Text(f"and {counted(len(rows) - _MOST_ROWS, 'more endpoint')}"))
        addresses = next(iter(tallies.values())).windows if tallies else []
        lines.extend(
            Text(f"from {use.address}: {use.used:,}/{use.limit:,} in {clock_text(use.period)}")
            for use in addresses
            if use.address is not None
        )
        requests = sum(tally.requests for tally in tallies.values())
        under_way = f"{counted(len(tallies), 'tenant')} under way ({counted(requests, 'request')}), {self._ended} ended"
        so_far = clock_text(self.now() - self._began)
        lines.append(Text(f"{so_far} so far; {under_way}. Ctrl-C stops; the same command goes on."))
        if self.now() < self._shown_until:
            lines.append(Text(self._notice, style="yellow"))
        return Group(*lines)

    def _table(self, rows: Sequence[tuple[str, Tally, EndpointTally]]) -> Table:
        is_wide, width = self.screen.width >= WIDE, self.screen.width
        table = Table(box=None, pad_edge=False)
        for title in ("tenant", "endpoint", "pages", *([""] if is_wide else []), "records", "of its limit"):
            left = title in ("tenant", "endpoint", "")
            table.add_column(title if is_wide else title.split()[-1], justify="left" if left else "right", no_wrap=True)
        numbers = [
            (
                pages_text(endpoint),
                f"{endpoint.records:,}",
                next((f"{use.used:,}/{use.limit:,}" for use in tally.windows if use.address is None), ""),
            )
            for _, tally, endpoint in rows
        ]
        # On a narrow screen the names give way, not the numbers.
        longest = [max(map(len, column)) for column in zip(("pages", "records", "limit"), *numbers, strict=True)]
        for_names = (width - sum(longest) - 2 * (1 + len(longest))) // 2
        for (tenant, _, endpoint), (pages, records, used) in zip(rows, numbers, strict=True):
            if is_wide:
                table.add_row(tenant, endpoint.name, pages, page_bar(endpoint), records, used)
            else:
                names = (shortened(name, for_names) for name in (tenant, endpoint.name))
                table.add_row(*names, pages, records, used)
        return table


class _TenantOnScreen(CountingProgress):
    """Counts the events of one tenant for the common display."""

    def __init__(self, screen: TenantsScreen, console: Console, tenant: str) -> None:
        super().__init__(console, screen.now, words=screen.words)
        self._screen = screen
        self._tenant = tenant

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        super().started(endpoints, output, windows)
        if self._tally is not None:
            self._screen.show(self._tenant, self._tally)

    def running(self, state: Callable[[], RunState]) -> None:
        """Do nothing: the table has no time left, and there may be hundreds of tenants."""

    def resumed(self, pages: int) -> None:
        self._screen.note(self._tenant, f"going on with an interrupted {self._words.noun}: {already_stored(pages)}")

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        self._screen.note(self._tenant, f"{endpoint}: re-reading to catch missed records (pass {sweep})")

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        self._screen.note(self._tenant, f"{endpoint} page {page}: {reason}; again in {delay:.1f} s")

    def throttled(self, pause: float) -> None:
        self._screen.note(self._tenant, f"the service answered 429; next attempt in {clock_text(pause)}", pause)

    def unavailable(self, reason: str, pause: float) -> None:
        super().unavailable(reason, pause)
        self._screen.note(self._tenant, f"{reason}; next attempt in {clock_text(pause)}", pause)

    def outside_window(self, until: datetime) -> None:
        self._screen.note(self._tenant, pause_text(until), (until - datetime.now(UTC)).total_seconds())

    def warned(self, message: str) -> None:
        self._screen.print(f"warning: {self._tenant}: {message}")

    def tick(self) -> None:
        if self._tally is not None:
            self._tally.refresh()

    def finished(self, summary: ExportSummary) -> None:
        for text in (finished_text(summary), *remarks(summary)):
            self._screen.print(f"{self._tenant}: {text}")

    def closed(self) -> None:
        self._screen.remove(self._tenant)


def _being_read(tally: Tally) -> list[EndpointTally]:
    """The endpoints that have begun and whose last page is not stored; the first one if there is none."""
    begun = [one for one in tally.endpoints.values() if one.pages and (one.end is None or one.pages < one.end)]
    waiting = [one for one in tally.endpoints.values() if one.end is None]
    return begun or waiting[:1]
