"""Watching an export: nothing, a line now and then, or a live display."""

from __future__ import annotations

from bulk_export.errors import UsageError
from bulk_export.progress.console import Console
from bulk_export.progress.observer import Observer

KINDS = ("auto", "rich", "plain", "none")


def choose(kind: str, console: Console) -> Observer:
    """The observer for `--progress`: `auto` is a live display on a terminal and lines otherwise.

    Lines for machines leave no room for a display, so `rich` gives lines there too.
    Raises UsageError for a kind that there is not.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no progress {kind!r}.", next_step=f"Choose from: {', '.join(KINDS)}.")
    if kind == "auto":
        kind = "rich" if console.stream.isatty() else "plain"
    if kind == "rich" and console.form == "text":
        from bulk_export.progress.rich_display import RichProgress  # rich is slow to import

        return RichProgress(console)
    from bulk_export.progress.line_display import LineProgress, SilentProgress

    return SilentProgress(console) if kind == "none" else LineProgress(console)
