"""Events for a callback: which ones there are, how often they come, and what an exception of it does."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulk_export.progress import events
from bulk_export.progress.callback import CallbackObserver
from tests.support.progress_run import Clock, summary, windows


def started() -> tuple[Clock, list[events.ProgressEvent], CallbackObserver]:
    clock, told = Clock(), []
    observer = CallbackObserver(told.append, clock)
    observer.started(["statements"], Path("out"), windows)
    return clock, told, observer


def test_each_event() -> None:
    """What happens to a run is told in the order in which it happens."""
    _, told, observer = started()
    until = datetime(2030, 1, 1, tzinfo=UTC)
    observer.resumed(3)
    observer.sweeping_again("statements", 1)
    observer.retrying("statements", 2, "status 500", 1.5)
    observer.throttled(4.0)
    observer.unavailable("no route", 5.0)
    observer.still_unavailable(2, 5.0)
    observer.available_again(2)
    observer.outside_window(until)
    observer.warned("look")
    observer.end_found("statements", 7)
    observer.closed()
    observer.finished(summary())
    others = [event for event in told if not isinstance(event, events.RunProgress)]
    assert others == [
        events.RunStarted(("statements",), Path("out")),
        events.RunResumed(3),
        events.SweepStarted("statements", 1),
        events.RetryScheduled("statements", 2, "status 500", 1.5),
        events.Throttled(4.0),
        events.ServiceUnavailable("no route", 5.0),
        events.ServiceAvailable(2),
        events.OutsideWindow(until),
        events.WarningIssued("look"),
        events.EndFound("statements", 7),
        events.RunFinished(summary()),
    ]


def test_rate_is_bounded() -> None:
    """However much happens, there are at most two of a kind a second, and the last one has all that was counted."""
    clock, told, observer = started()
    observer.resumed_endpoint("statements", 5, 1_500, None)
    for page in range(6, 2_006):
        observer.request_sent("statements")
        observer.retrying("statements", page, "status 500", 0.1)
        observer.throttled(0.1)
        observer.page_stored("statements", page, 300)
        clock.now += 0.001
    observer.end_found("statements", 2_005)
    observer.closed()
    counts = {kind: sum(isinstance(event, kind) for event in told) for kind in {type(event) for event in told}}
    assert counts[events.RunProgress] <= 6
    assert counts[events.RetryScheduled] == counts[events.Throttled] == 4
    last = told[-1]
    assert isinstance(last, events.RunProgress)
    assert (last.pages, last.records, last.end, last.seconds_left) == (2_005, 601_500, 2_005, 0.0)
    assert (last.requests, last.retries, last.throttled) == (2_000, 2_000, 2_000)
    assert last.endpoints == (events.EndpointProgress("statements", 2_005, 601_500, 2_005),)


def test_nothing_is_told_twice() -> None:
    """The state at the end is told once, whether or not it was told while the run went on."""
    clock, told, observer = started()
    clock.now += 1
    observer.page_stored("statements", 1, 300)
    observer.closed()
    observer.closed()
    assert [type(event) for event in told] == [events.RunStarted, events.RunProgress]


def test_exception_of_the_callback(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and warned of, the callback is not called again, and the run is not told."""
    calls = []

    def fails(event: events.ProgressEvent) -> None:
        calls.append(event)
        raise KeyError("secret")

    observer = CallbackObserver(fails, Clock())
    with caplog.at_level(logging.ERROR), pytest.warns(RuntimeWarning, match="on_progress raised KeyError"):
        observer.started(["statements"], None, windows)
    observer.page_stored("statements", 1, 300)
    observer.closed()
    assert len(calls) == 1
    assert "on_progress failed" in caplog.text
