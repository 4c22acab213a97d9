"""Watching an export: nothing, a line now and then, or a live display."""

from __future__ import annotations

from bulk_export.progress.console import Console
from bulk_export.progress.observer import Observer

KINDS = ("auto", "rich", "plain", "none")


def choose(kind: str, console: Console) -> Observer:
    """The observer for `--progress`: `auto` is a live display on a terminal and lines otherwise."""
    if kind == "auto":
        kind = "rich" if console.stream.isatty() and console.form == "text" else "plain"
    if kind == "rich":
        from bulk_export.progress.rich_display import RichProgress  # rich is slow to import

        return RichProgress(console)
    from bulk_export.progress.plain import PlainProgress, SilentProgress

    return PlainProgress(console) if kind == "plain" else SilentProgress(console)
