"""One observer that passes every event on to several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bulk_export.progress.observer import Observer

EVENTS = tuple(name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_"))


class SeveralObservers(Observer):
    """Passes each event on to all `observers`, in their order.

    An event that only one of them overrides costs no more than with that one alone.

    Args:
        observers: Those that receive the events.
    """

    def __init__(self, *observers: Observer) -> None:
        for name in EVENTS:
            ignored = getattr(Observer, name)
            receivers = [getattr(each, name) for each in observers if getattr(type(each), name) is not ignored]
            setattr(self, name, receivers[0] if len(receivers) == 1 else _call_each(receivers))


def _call_each(receivers: list[Callable[..., None]]) -> Callable[..., None]:
    def event(*args: Any, **options: Any) -> None:
        for receive in receivers:
            receive(*args, **options)

    return event
