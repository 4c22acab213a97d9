"""The display of several exports: names of tenants before those of endpoints, in lines and on the screen."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

from bulk_export.errors import UsageError
from bulk_export.progress.console import Console
from bulk_export.progress.observer import EndpointSummary, ExportSummary, Observer, WindowUse
from bulk_export.progress.tenants import TenantConsole, TenantLines, choose_for_tenants
from bulk_export.progress.tenants_screen import TenantsScreen

USES = [WindowUse(None, 1000, 300, 7, 0.0), WindowUse("this machine", 300, 300, 12, 0.0)]
SUMMARY = ExportSummary(
    output=Path("out/a"),
    endpoints=[EndpointSummary("statements", 37, 1, 2, 0, 1, 100, {"unknown": {"new": 1}})],
    requests=2,
    retries=0,
    throttled=0,
    resumed=0,
    seconds=3.0,
)


def play(observer: Observer) -> None:
    """An export, from its start to its end."""
    observer.started(["statements"], Path("out/a"), lambda: USES)
    observer.page_stored("statements", 1, 37)
    observer.end_found("statements", 1)
    observer.warned("careful")
    observer.closed()
    observer.finished(SUMMARY)


def test_lines_begin_with_the_tenant() -> None:
    """Every line says whose it is; the table at the end is that of the tenants, so each has one line."""
    stream = io.StringIO()
    play(choose_for_tenants("plain", Console(stream)).observer_of("a"))
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d a: exporting statements into out/a", lines[0])
    assert any(line.endswith(" warning: a: careful") for line in lines)
    assert "a: finished: 37 records, 2 requests, 3 s" in lines
    assert lines[-1] == "a: statements: new fields, kept in _extra: new"


def test_objects_hold_the_tenant() -> None:
    """Lines for machines have it as a field."""
    stream = io.StringIO()
    play(choose_for_tenants("auto", Console(stream, "json")).observer_of("a"))
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {one["tenant"] for one in found} == {"a"}
    assert found[-1]["records"] == {"statements": 37}


def test_waiting_tenant_writes_few_lines() -> None:
    """A tenant that waits for others writes no line every ten seconds."""
    stream, now = io.StringIO(), [0.0]
    lines = TenantLines(TenantConsole(Console(stream), "a"), lambda: now[0])
    lines.started(["statements"], Path("out/a"), lambda: USES)
    for second in range(600):
        now[0] = second
        lines.tick()
    assert len(stream.getvalue().splitlines()) == 2
    lines.request_sent("statements")
    lines.page_stored("statements", 1, 37)
    now[0] += 11
    lines.tick()
    assert "37 records" in stream.getvalue().splitlines()[-1]


def test_silent_display_shows_warnings() -> None:
    """With none, warnings remain, with the tenant."""
    stream = io.StringIO()
    play(choose_for_tenants("none", Console(stream)).observer_of("a"))
    assert stream.getvalue() == "warning: a: careful\n"
    with pytest.raises(UsageError, match="no progress 'loud'"):
        choose_for_tenants("loud", Console(stream))


def test_screen_shows_all_tenants_in_one_table() -> None:
    """Endpoints that are being read, by tenant, with the use of limits; what ended is counted."""
    stream = io.StringIO()
    shown = RichConsole(file=stream, width=120)
    screen = TenantsScreen(Console(stream), screen=shown)
    first, second = screen.observer_of("alpha"), screen.observer_of("beta")
    for observer in (first, second):
        observer.started(["npq-applications", "statements"], Path("out"), lambda: USES)
        observer.tick()
    first.page_stored("npq-applications", 1, 300)
    second.throttled(5)
    shown.print(screen.render())
    text = stream.getvalue()
    for expected in ("alpha", "beta", "npq-applications", "1/?", "7/1,000", "12/300", "2 tenants under way"):
        assert expected in text
    assert "beta: the service answered 429" in text
    first.closed()
    first.finished(SUMMARY)
    second.closed()
    shown.print(screen.render())
    assert "0 tenants under way (0 requests), 2 ended" in stream.getvalue()
    assert "alpha: finished: 37 records" in stream.getvalue()
    screen.close()


@pytest.mark.parametrize("width", [50, 79])
def test_narrow_screen_cuts_names_only(width: int) -> None:
    """Names are cut visibly, numbers and words are whole."""
    shown = RichConsole(file=io.StringIO(), width=width)
    screen = TenantsScreen(Console(io.StringIO()), screen=shown)
    observer = screen.observer_of("university-of-somewhere-far-away")
    observer.started(["participant-declarations-and-outcomes"], Path("out"), lambda: USES)
    observer.page_stored("participant-declarations-and-outcomes", 1, 1_234_567)
    observer.throttled(5)
    screen.close()
    with shown.capture() as capture:
        shown.print(screen.render())
        observer.warned("something that needs more than one line on a narrow screen, and is broken between words only")
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    words = " ".join(capture.get().split())
    for whole in (
        "1/? 1,234,567 7/1,000",
        "unive",
        "parti",
        "…",
        "is broken between words only",
        "Ctrl-C stops; the same",
    ):
        assert whole in words
