"""Displays of a running export: none, a line every ten seconds, or a live display."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulk_export.errors import UsageError
from bulk_export.progress.console import Console
from bulk_export.progress.run_words import EXPORT, RunWords

if TYPE_CHECKING:
    from bulk_export.progress.observer import Observer

DISPLAYS = ("auto", "rich", "plain", "none")


def choose(kind: str, console: Console, words: RunWords = EXPORT) -> Observer:
    """Choose the observer for `--progress`.

    Args:
        kind: `auto`, which is `rich` on a terminal and `plain` elsewhere; `rich`; `plain`; or `none`.
        console: Where it writes. With `--log-format json`, `rich` is `plain`, too.
        words: What the run is called.

    Raises:
        UsageError: There is no such kind.
    """
    kind = kind_of_display(kind, console)
    if kind == "rich":
        from bulk_export.progress.rich_display import RichProgress  # rich is slow to import

        return RichProgress(console, words=words)
    from bulk_export.progress.line_display import LineProgress, SilentProgress

    return SilentProgress(console) if kind == "none" else LineProgress(console, words=words)


def kind_of_display(kind: str, console: Console) -> str:
    """Return which of `rich`, `plain` and `none` is meant by the value of `--progress`.

    Raises:
        UsageError: There is no such kind.
    """
    if kind not in DISPLAYS:
        raise UsageError(f"There is no progress {kind!r}.", next_step=f"Choose from: {', '.join(DISPLAYS)}.")
    if kind == "auto":
        kind = "rich" if console.stream.isatty() else "plain"
    return "plain" if kind == "rich" and console.form != "text" else kind
