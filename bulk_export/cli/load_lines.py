"""The progress of a load, in lines."""

from __future__ import annotations

import time

from bulk_export.core.text import counted
from bulk_export.pipelines.load_transaction import LoadProgress
from bulk_export.progress.console import Console

_SECONDS_BETWEEN_LINES = 10.0


class LoadLines(LoadProgress):
    """Writes a line every ten seconds at most.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = self._last = time.monotonic()
        self._rows = 0

    def staged(self, table: str, rows: int) -> None:
        """Count the rows."""
        self._rows += rows
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            rate = self._rows / (now - self._begun)
            self._console.line(f"{table}: {counted(self._rows, 'row')} in all, {rate:,.0f} a second", rows=self._rows)

    def retrying(self, reason: str) -> None:
        """Say what failed."""
        self._console.line(f"{reason} The load starts again.", level="warning")
