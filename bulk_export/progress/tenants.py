"""One display for several exports at once: the name of the tenant stands before that of the endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from bulk_export.progress import kind_of_display
from bulk_export.progress.console import Console
from bulk_export.progress.line_display import LineProgress, SilentProgress
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.progress.run_words import EXPORT, RunWords
from bulk_export.progress.summary import finished_text, remarks, summary_object
from bulk_export.progress.tally import local_time

if TYPE_CHECKING:
    from bulk_export.progress.tenants_screen import TenantsScreen


_SECONDS_BETWEEN_IDLE_LINES = 300.0


class TenantConsole(Console):
    """Writes lines that begin with the name of a tenant; JSON objects get it as `tenant`.

    Args:
        console: Where to write.
        tenant: The name.
    """

    def __init__(self, console: Console, tenant: str) -> None:
        super().__init__(console.stream, console.form)
        self.is_quiet = console.is_quiet
        self._tenant = tenant

    def line_at(self, at: datetime | None, message: str, level: str, fields: Mapping[str, object]) -> None:
        """As `Console.line_at`."""
        if self.form == "json":
            super().line_at(at, message, level, {"tenant": self._tenant, **fields})
        else:
            super().line_at(at, f"{self._tenant}: {message}", level, fields)


class TenantLines(LineProgress):
    """The lines of one tenant, with a single one at its end: the table at the end of all is of tenants.

    While nothing arrives for it, it writes a line every five minutes at most: others are served before it.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = local_time,
        words: RunWords = EXPORT,
    ) -> None:
        super().__init__(console, now, clock, words)
        self._requests_shown = 0

    def tick(self) -> None:
        """Write the progress if there is any."""
        requests = 0 if self._tally is None else self._tally.requests
        if requests != self._requests_shown or self._now() - self._last >= _SECONDS_BETWEEN_IDLE_LINES:
            last = self._last
            super().tick()
            if self._last != last:
                self._requests_shown = requests

    def finished(self, summary: ExportSummary) -> None:
        """Write the numbers, and what the user should know beyond them."""
        if self._console.form == "json":
            self._console.line("finished", **summary_object(summary))
            return
        self._console.line(finished_text(summary))
        for remark in remarks(summary):
            self._console.line(remark)


class TenantsDisplay(Observer):
    """The display of all tenants. As an observer it knows only how to take itself down.

    Args:
        observer_of: Makes the observer of one tenant.
        screen: The live display, if it is one.
    """

    def __init__(self, observer_of: Callable[[str], Observer], screen: TenantsScreen | None = None) -> None:
        self.observer_of = observer_of
        self._screen = screen

    def closed(self) -> None:
        """Remove the display."""
        if self._screen is not None:
            self._screen.close()


def choose_for_tenants(kind: str, console: Console, words: RunWords = EXPORT) -> TenantsDisplay:
    """Choose the display of several exports at once, as `choose` does for one.

    Raises:
        UsageError: There is no such kind.
    """
    kind = kind_of_display(kind, console)
    if kind == "rich":
        from bulk_export.progress.tenants_screen import TenantsScreen  # rich is slow to import

        screen = TenantsScreen(console, words=words)
        return TenantsDisplay(screen.observer_of, screen)
    if kind == "none":
        return TenantsDisplay(lambda name: SilentProgress(TenantConsole(console, name)))
    return TenantsDisplay(lambda name: TenantLines(TenantConsole(console, name), words=words))
