"""The live display: what a user at a terminal sees of a running export."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from rich.console import Console as RichConsole

from bulk_export.progress.console import Console
from bulk_export.progress.observer import EndpointSummary, ExportSummary, WindowUse
from bulk_export.progress.rich_display import RichProgress
from bulk_export.progress.run_state import RunState
from bulk_export.progress.time_left import Ceiling, Stage, WorkLeft
from tests.support.progress_run import Clock, noon, summary, windows


class Display:
    """A display that is up, on a screen that can be looked at."""

    def __init__(self, uses: Callable[[], Sequence[WindowUse]] = windows, width: int = 120) -> None:
        self.clock = Clock()
        self.screen = RichConsole(file=io.StringIO(), width=width)
        self.progress = RichProgress(Console(io.StringIO()), self.clock, self.screen, noon)
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
    display.progress._live.stop()
    assert display.line("service") == ["service", "300/1,000", "in", "5", "min", "00", "s", "now"]
    assert "in 4 min 10 s" in display.shown()
    assert "waiting for a permit until 12:04:10 (4 min 10 s)" in display.shown()
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
    display.progress._live.stop()
    assert looked_by == [threading.get_ident()]
    display.progress.tick()
    assert display.line("service")[1] == "2/1,000"


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


def test_last_state_stays_on_the_screen() -> None:
    """However a run ends, its last state stays, without what holds for a running one only."""
    display = Display(lambda: windows(300, 250.0))
    display.progress.page_stored("statements", 1, 300)
    display.clock.now += 61
    display.progress.retrying("statements", 2, "status 503", 1.0)
    display.progress.closed()
    written = display.screen.file.getvalue()
    assert "statements    1/?" in written
    display.clock.now += 1000
    assert "1 min 01 s in all, 0 requests, ended while waiting for a permit until" in display.shown()
    assert "Ctrl-C" not in display.shown()
    assert "503" not in display.shown()


def test_finished_run_says_so() -> None:
    display = Display()
    for name in ("statements", "others"):
        display.progress.page_stored(name, 1, 300)
        display.progress.end_found(name, 1)
    display.clock.now += 2
    display.progress.closed()
    assert "2 s in all, 0 requests, all pages are here." in display.shown()


LONG = ["participant-declarations-and-outcomes", "statements"]


@pytest.mark.parametrize("width", [50, 60, 79])
def test_narrow_screen_breaks_between_words(width: int) -> None:
    """Only the name of an endpoint is cut, and visibly; numbers and words are whole."""
    uses = [
        WindowUse(None, 1000, 300.0, 300, 0.0),
        WindowUse("2001:db8:85a3:8d3:1319:8a2e:370:7348", 300, 300.0, 300, 250.0),
    ]
    display = Display(lambda: uses, width)
    display.progress._live.stop()
    display.progress.started(LONG, None, lambda: uses)
    display.progress._live.stop()
    display.progress.resumed_endpoint(LONG[0], 4012, 1_203_600, None)
    display.progress.throttled(120.0)
    shown = display.shown()
    assert max(map(len, shown.splitlines())) <= width
    words = " ".join(shown.split())
    assert "4,012/?" in shown
    assert "1,203,600" in shown
    text = "waiting for a permit until 12:04:10 (4 min 10 s). Ctrl-C stops; the same command goes on."
    assert text in words
    assert "from 2001:db8:85a3:8d3:1319:8a2e:370:7348: 300/300 in 5 min 00 s, next in 4 min 10 s" in words
    with display.screen.capture() as capture:
        display.progress.finished(summary(changed_during_export=True, name=LONG[0]))
    assert max(map(len, capture.get().splitlines())) <= width
    words = " ".join(capture.get().split())
    assert f"{LONG[0]} 12,345" in words or f"{LONG[0]}: 12,345 records, 1 file, 1.2 MB, 43 requests" in words
    assert "use --consistent, or export it again when it is quiet" in words


class Reported:
    """A run that reports its state as an export does."""

    def __init__(self, display: Display) -> None:
        self.state = RunState()
        self.display = display
        display.progress.running(lambda: self.state)

    def shown(self, state: RunState) -> str:
        self.state = state
        self.display.progress.tick()
        return " ".join(self.display.shown().split())


def test_states_are_shown(display: Display) -> None:
    """Counting, fetching, stopped and slowed down by a 429, re-reading, writing; each with the time left."""
    shown = Reported(display).shown
    work = WorkLeft((Stage(300, 1.0, 1.0),))
    assert "counting pages; at least 5 min 00 s left." in shown(RunState(least=work))
    assert "fetching; about 5 min 00 s left." in shown(RunState(work))
    assert "about 5 min 00 s left, with 1 endpoint not counted yet." in shown(RunState(work, uncounted=1))
    assert "left, with 2 endpoints not counted yet." in shown(RunState(work, uncounted=2))
    held = RunState(replace(work, held_for=90.0), held_for=90.0)
    assert "stopped by a 429 until 12:01:30; about 6 min 30 s left." in shown(held)
    slowed = RunState(work, ceiling=Ceiling(120.0, 180 / 600))
    assert "slowed down after a 429 to 120 requests in 5 min 00 s until 12:10; about" in shown(slowed)
    assert "slowed" not in shown(RunState(work, ceiling=Ceiling(300.0, 1.0)))
    assert "re-reading statements (pass 2); about" in shown(RunState(work, rereading=("statements", 2)))
    writing = RunState(WorkLeft((), backlog=7.0), is_fetched=True)
    assert "all pages are here, writing the rest; about 7 s left." in shown(writing)
    display.clock.now += 3
    assert "about 4 s left" in display.shown()
    display.progress.outside_window(noon() + timedelta(hours=8))
    assert "outside of the daily window until 20:00:00; about" in shown(writing)


def test_state_is_read_once_a_tick(display: Display) -> None:
    """What is left is computed where events arrive, and not for each drawing."""
    read: list[int] = []

    def state() -> RunState:
        read.append(threading.get_ident())
        return RunState()

    display.progress.running(state)
    for _ in range(5):
        display.shown()
    assert len(read) == 1
    display.progress.tick()
    assert len(read) == 2


def test_summary_follows_the_display() -> None:
    """The summary is shown below the last state."""
    display = Display()
    one = summary().endpoints[0]
    odd = EndpointSummary(one.name, 1, 1, 1, 0, 1, 1, {"unknown": {"\x1b[2J": 1}})
    with display.screen.capture() as capture:
        display.progress.finished(ExportSummary(summary().output, [odd], 1, 0, 0, 0, 1.0))
        display.progress.closed()
    assert "total" in capture.get()
    assert "\x1b[2J" not in capture.get()
