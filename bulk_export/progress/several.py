"""One observer that passes every event on to several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bulk_export.progress.observer import Observer

EVENTS = tuple(name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_"))


class SeveralObservers(Observer):
    """Passes each event on to all `observers`, in their order; these may be of this class themselves.

    Args:
        observers: Those that receive the events.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in EVENTS:
            setattr(self, name, _event_for_each(observers, name))


def _event_for_each(observers: Sequence[Observer], name: str) -> Callable[..., None]:
    def event(*arguments: Any, **named: Any) -> None:
        for observer in observers:
            getattr(observer, name)(*arguments, **named)

    return event
