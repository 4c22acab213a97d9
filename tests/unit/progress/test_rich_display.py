"""The live display: what a user at a terminal sees of a running export."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence

import pytest
from rich.console import Console as RichConsole

from bulk_export.progress.console import Console
from bulk_export.progress.observer import EndpointSummary, ExportSummary, WindowUse
from bulk_export.progress.rich_display import RichProgress
from tests.support.progress_run import Clock, summary, windows


class Display:
    """A display that is up, on a screen that can be looked at."""

    def __init__(self, uses: Callable[[], Sequence[WindowUse]] = windows) -> None:
        self.clock = Clock()
        self.screen = RichConsole(file=io.StringIO(), width=120)
        self.progress = RichProgress(Console(io.StringIO()), self.clock, self.screen)
        self.progress.started(["statements", "others"], None, uses)

    def shown(self) -> str:
        with self.screen.capture() as capture:
            self.screen.print(self.progress.render())
        return capture.get()

    def line(self, name: str) -> list[str]:
        return next(line for line in self.shown().splitlines() if line.startswith(name)).split()


@pytest.fixture
def display() -> Display:
    made = Display()
    made.progress._live.stop()  # the thread that redraws; what it draws is asked for here
    return made


def test_shows_each_endpoint(display: Display) -> None:
    """It shows pages, records and rate of each endpoint."""
    for page in range(1, 4):
        display.progress.page_stored("statements", page, 300)
    display.clock.now += 2
    assert display.line("statements")[:2] == ["statements", "3/?"]
    assert display.line("statements")[-2:] == ["900", "450"]
    display.progress.end_found("statements", 9)
    assert display.line("statements")[1] == "3/9"
    assert display.line("others")[1] == "0/?"


def test_shows_the_use_of_limits() -> None:
    """It shows the use of each limit, and counts down to the next permit."""
    display = Display(lambda: windows(300, 250.0))
    display.progress.closed()
    assert display.line("service") == ["service", "300/1000", "in", "5", "min", "00", "s", "now"]
    assert "in 4 min 10 s" in display.shown()
    assert "the limits allow the next request in 4 min 10 s" in display.shown()
    display.clock.now += 50
    assert "in 3 min 20 s" in display.shown()


def test_limits_are_read_on_the_event_loop() -> None:
    """The limits are read where events arrive, and not where they are drawn.

    Drawing happens in a thread of its own; the budget belongs to the event loop.
    """
    looked_by: list[int] = []

    def uses() -> list[WindowUse]:
        looked_by.append(threading.get_ident())
        return windows(len(looked_by))

    display = Display(uses)
    thread = threading.Thread(target=display.shown)
    thread.start()
    thread.join()
    display.progress.closed()
    assert looked_by == [threading.get_ident()]
    display.progress.tick()
    assert display.line("service")[1] == "2/1000"


def test_time_left_needs_all_ends(display: Display) -> None:
    """The time left is shown once all ends are known."""
    assert "counting pages" in display.shown()
    display.progress.end_found("statements", 10)
    display.progress.page_stored("statements", 1, 300)
    display.clock.now += 2
    assert "counting pages" in display.shown()
    display.progress.end_found("others", 0)
    assert "about 18 s left" in display.shown()
    for page in range(2, 11):
        display.progress.page_stored("statements", page, 300)
    assert "writing the rest" in display.shown()


def test_resumed_export_shows_stored_pages(display: Display) -> None:
    """An export that goes on shows what is stored already."""
    display.progress.resumed(40)
    display.progress.resumed_endpoint("statements", 40, 12_000, 50)
    display.clock.now += 10
    display.progress.page_stored("statements", 41, 300)
    assert display.line("statements")[1] == "41/50"
    assert display.line("statements")[-2:] == ["12,300", "30"]
    assert "40 pages are stored already" in display.shown()


def test_last_problem_is_shown_for_a_while(display: Display) -> None:
    """The last problem is shown for a while."""
    display.progress.retrying("statements", 2, "status 503", 1.0)
    assert "statements page 2: status 503; again in 1.0 s" in display.shown()
    display.clock.now += 31
    assert "503" not in display.shown()
    display.progress.throttled(120)
    display.clock.now += 100
    assert "429; next attempt in 2 min 00 s" in display.shown()
    display.progress.unavailable("the service answered 503", 60)
    assert "the service answered 503; next attempt in 1 min 00 s" in display.shown()
    display.clock.now += 50
    assert "the service is away; next attempt in 10 s" in display.shown()


def test_service_text_is_no_markup(display: Display) -> None:
    """Names and reasons of a service are neither markup nor control characters."""
    display.progress.retrying("statements", 2, "[bold red]\x1b[2J\nno", 1.0)
    with display.screen.capture() as capture:
        display.progress.warned("[/nothing] to close\x1b[2J")
    for text in (display.shown(), capture.get()):
        assert "\x1b[2J" not in text
    assert "[bold red]\\u001b[2J no" in display.shown()
    assert capture.get() == "warning: [/nothing] to close\\u001b[2J\n"


def test_summary_replaces_the_display() -> None:
    """The summary is shown in place of the display."""
    display = Display()
    one = summary().endpoints[0]
    odd = EndpointSummary(one.name, 1, 1, 1, 0, 1, 1, {"unknown": {"\x1b[2J": 1}})
    with display.screen.capture() as capture:
        display.progress.finished(ExportSummary(summary().output, [odd], 1, 0, 0, 0, 1.0))
        display.progress.closed()
    assert "total" in capture.get()
    assert "\x1b[2J" not in capture.get()
