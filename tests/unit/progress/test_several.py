"""Events for several observers."""

from __future__ import annotations

import inspect
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


def test_every_event_is_passed_on_to_each() -> None:
    """Every event that an observer has is passed on to each."""
    heard: list[str] = []

    class Hears(Observer):
        def __getattribute__(self, name: str) -> object:
            heard.append(name)
            return lambda *_: None

    both = SeveralObservers(Hears(), Hears())
    names = [name for name, _ in inspect.getmembers(Observer, inspect.isfunction) if not name.startswith("_")]
    for name in names:
        method = getattr(both, name)
        required = len(inspect.signature(getattr(Observer, name)).parameters) - 1
        method(*[None] * required)
    assert heard == [name for name in names for _ in range(2)]


def test_several_within_several() -> None:
    """A callback and spans are both heard, although each makes a pair with what was there before."""
    heard: list[tuple[Any, ...]] = []
    both = SeveralObservers(SeveralObservers(Recorder("one", heard), Recorder("two", heard)), Recorder("three", heard))
    both.page_stored("a", 1, 5)
    assert heard == [("one", "a", 1, 5), ("two", "a", 1, 5), ("three", "a", 1, 5)]
