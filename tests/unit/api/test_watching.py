"""What watches a run: the observer or display, and the callback of the program."""

from __future__ import annotations

import pytest

from bulk_export.api.watching import tenant_watchers, watcher
from bulk_export.errors import UsageError
from bulk_export.progress.events import ProgressEvent, WarningIssued
from bulk_export.progress.observer import Observer


class Hears(Observer):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)


def test_both_are_told() -> None:
    """A callback comes beside the observer, and not in its place."""
    hears, told = Hears(), list[ProgressEvent]()
    watcher(hears, "none", told.append).warned("look")
    assert (hears.warnings, told) == (["look"], [WarningIssued("look")])
    assert watcher(hears, "none", None) is hears


def test_unknown_display() -> None:
    with pytest.raises(UsageError, match="no progress 'loud'"):
        watcher(None, "loud", None)


def test_tenants_have_one_each() -> None:
    """The callback is told of which tenant; the observer of one is made once, and so is its callback's state."""
    made: list[str] = []
    told: list[tuple[str, ProgressEvent]] = []

    def observer_of(name: str) -> Observer:
        made.append(name)
        return Hears()

    watchers = tenant_watchers(observer_of, lambda name, event: told.append((name, event)))
    for name in ("north", "south", "north"):
        watchers(name).warned(name)
    assert made == ["north", "south"]
    assert told == [(name, WarningIssued(name)) for name in ("north", "south", "north")]
    assert tenant_watchers(observer_of, None) is observer_of
