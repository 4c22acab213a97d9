"""What watches a run: the observer or display that was asked for, and the callback of the program."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from bulk_export.progress import choose
from bulk_export.progress.callback import CallbackObserver
from bulk_export.progress.console import Console
from bulk_export.progress.events import ProgressEvent
from bulk_export.progress.observer import Observer
from bulk_export.progress.run_words import EXPORT, RunWords
from bulk_export.progress.several import SeveralObservers


def watcher(
    observer: Observer | None,
    progress: str,
    on_progress: Callable[[ProgressEvent], object] | None,
    words: RunWords = EXPORT,
) -> Observer:
    """Return the observer of a run: the given one or else the display, together with the callback if there is one.

    Raises:
        UsageError: There is no such display.
    """
    shown = observer or choose(progress, Console(sys.stderr), words)
    return shown if on_progress is None else SeveralObservers(shown, CallbackObserver(on_progress))


def tenant_watchers(
    observer_of: Callable[[str], Observer], on_progress: Callable[[str, ProgressEvent], object] | None
) -> Callable[[str], Observer]:
    """Return what gives the observer of a tenant: the same one each time, together with the callback if there is one.

    Args:
        observer_of: Gives the observer or display of a tenant.
        on_progress: Is called with the name of a tenant and its event.
    """
    if on_progress is None:
        return observer_of
    return functools.cache(
        lambda name: SeveralObservers(observer_of(name), CallbackObserver(functools.partial(on_progress, name)))
    )
