"""Events for several observers."""

from __future__ import annotations

from typing import Any

from bulk_export.progress.observer import Observer
from bulk_export.progress.several import EVENTS, SeveralObservers


class Recorder(Observer):
    """Keeps what it is told."""

    def __init__(self, name: str, heard: list[tuple[Any, ...]]) -> None:
        self._name = name
        self._heard = heard

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        self._heard.append((self._name, endpoint, page, records))


class Ticks(Recorder):
    """Hears the clock as well."""

    def tick(self) -> None:
        self._heard.append((self._name, "tick"))


def test_each_event_reaches_all() -> None:
    """Whoever cares for an event hears of it, in order; others are not asked."""
    heard: list[tuple[Any, ...]] = []
    both = SeveralObservers(Recorder("one", heard), Ticks("two", heard), Observer())
    both.page_stored("a", 2, records=7)
    both.tick()
    both.closed()
    assert heard == [("one", "a", 2, 7), ("two", "a", 2, 7), ("two", "tick")]


def test_all_events_are_passed_on() -> None:
    """No event is forgotten, whenever one is added."""
    both = SeveralObservers()
    assert len(EVENTS) > 15
    assert set(EVENTS) <= set(vars(both))
