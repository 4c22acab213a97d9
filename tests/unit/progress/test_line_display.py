"""What an export says while it runs, and at its end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import ServiceFailing, UsageError
from bulk_export.progress import DISPLAYS, choose
from bulk_export.progress.console import Console
from bulk_export.progress.line_display import LineProgress, SilentProgress
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.progress.run_state import RunState
from bulk_export.progress.run_words import SYNC
from bulk_export.progress.summary import summary_lines
from bulk_export.progress.tally import Tally, bytes_text, clock_text
from bulk_export.progress.time_left import Stage, WorkLeft
from tests.support.progress_run import Clock, noon, summary, windows


def test_lines_come_every_ten_seconds() -> None:
    """Lines come at the start and then at most every ten seconds."""
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(Console(stream), clock, noon)
    progress.started(["statements"], Path("out"), windows)
    for page in range(1, 31):
        clock.now += 1
        progress.page_stored("statements", page, 300)
        progress.tick()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "12:00:00 exporting statements into out"
    assert lines[1:] == [
        "12:00:00 10 pages, 3,000 records, 0 requests, counting pages",
        "12:00:00 20 pages, 6,000 records, 0 requests, counting pages",
        "12:00:00 30 pages, 9,000 records, 0 requests, counting pages",
    ]


def test_a_waiting_export_says_what_it_waits_for() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(Console(stream), clock, noon)
    progress.started(["statements"], None, lambda: windows(300, 250.0))
    clock.now += 11
    progress.tick()
    assert "waiting for a permit until 12:04:10 (4 min 10 s)" in stream.getvalue()


def test_lines_hold_the_state_for_machines() -> None:
    """Objects have the time left, what the run does, and until when."""
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(Console(stream, "json"), clock, noon)
    progress.started(["statements"], None, lambda: windows(300, 250.0))
    progress.running(lambda: RunState(WorkLeft((Stage(5, 1.0, 1.0),), held_for=250.0)))
    clock.now += 11
    progress.tick()
    line = json.loads(stream.getvalue().splitlines()[-1])
    assert (line["seconds_left"], line["state"], line["until"]) == (255.0, "waiting", "2026-03-02T12:04:10+00:00")


def test_narrow_terminal_gets_whole_words() -> None:
    """Lines for a narrow terminal are broken between words; paths and addresses stay whole."""

    class Narrow(Console):
        width = 50

    stream = io.StringIO()
    progress = LineProgress(Narrow(stream), Clock(), noon)
    path = Path("/data/exports/2026/of-the-whole-service/every-night")
    progress.started(["statements", "declarations", "participants"], path, windows)
    progress.retrying("statements", 12, "the connection was closed before the whole body had arrived", 1.5)
    progress.finished(summary(changed_during_export=True, name="participant-declarations"))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 50 or line.strip() == str(path) for line in lines)
    words = " ".join(stream.getvalue().split())
    assert "the connection was closed before the whole body had arrived; again in 1.5 s" in words
    assert "participant-declarations: 12,345 records, 1 file, 1.2 MB, 43 requests" in words


def test_events_are_said_at_once() -> None:
    """Ends, retries, throttling and warnings are said at once."""
    stream = io.StringIO()
    progress = LineProgress(Console(stream), Clock(), noon)
    progress.started(["statements"], None, windows)
    progress.resumed(7)
    progress.end_found("statements", 9)
    progress.retrying("statements", 3, "status 503", 1.26)
    progress.throttled(30)
    progress.unavailable("no connection: Connection refused", 2)
    progress.still_unavailable(2, 8)
    progress.available_again(3)
    progress.warned("look out")
    assert stream.getvalue().splitlines()[1:] == [
        "12:00:00 going on with an interrupted export: 7 pages are stored already",
        "12:00:00 statements: 9 pages in all",
        "12:00:00 warning: statements page 3: status 503; again in 1.3 s",
        "12:00:00 warning: the service answered 429; next attempt in 30 s",
        "12:00:00 warning: no connection: Connection refused; next attempt in 2 s",
        "12:00:00 the service can be reached again (3 attempts failed)",
        "12:00:00 warning: look out",
    ]


@pytest.mark.parametrize(("pages", "said"), [(0, "nothing to fetch"), (9, "9 pages in all")])
def test_words_of_a_sync(pages: int, said: str) -> None:
    """A poll is no export to its user, and a list without changes has no pages."""
    stream = io.StringIO()
    progress = LineProgress(Console(stream), Clock(), noon, words=SYNC)
    progress.started(["statements"], Path("copy"), windows)
    progress.resumed(0)
    progress.end_found("statements", pages)
    assert stream.getvalue().splitlines() == [
        "12:00:00 syncing statements into copy",
        "12:00:00 going on with an interrupted poll: no page is stored yet",
        f"12:00:00 statements: {said}",
    ]


def test_silent_progress_warns() -> None:
    """The silent display writes warnings only."""
    stream = io.StringIO()
    progress = SilentProgress(Console(stream))
    progress.started(["statements"], None, windows)
    progress.finished(summary())
    assert stream.getvalue() == ""
    progress.warned("look out")
    assert stream.getvalue() == "warning: look out\n"


def test_the_summary_is_a_table_with_remarks() -> None:
    lines = summary_lines(
        summary(drift={"unknown": {"new": 3}, "misfits": {"paid": 1}}, changed_during_export=True, duplicates=2)
    )
    assert lines[0].split() == ["endpoint", "records", "files", "bytes", "requests"]
    assert lines[1].split() == ["statements", "12,345", "1", "1.2", "MB", "43"]
    assert lines[3].startswith("1 min 05 s, 43 requests, 1 retry, never rate-limited")
    assert "new fields, kept in _extra: new" in lines[4]
    assert "values of another type, kept in _extra: paid" in lines[5]
    assert "changed while they were read (2 duplicates)" in lines[6]


def test_a_429_is_explained() -> None:
    undisturbed = summary()
    throttled = ExportSummary(undisturbed.output, undisturbed.endpoints, 43, 0, 2, 3, 1.0)
    assert "1 s, 43 requests, 0 retries, rate-limited twice, resumed 3 times" in summary_lines(throttled)
    assert "someone else seems to use the token" in summary_lines(throttled)[-1]


def test_machines_get_one_object_a_line() -> None:
    stream = io.StringIO()
    progress = LineProgress(Console(stream, "json"), Clock())
    progress.started(["statements"], None, windows)
    progress.finished(summary())
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert objects[-1]["records"] == {"statements": 12_345}
    assert {"time", "level", "message"} <= objects[0].keys()


def test_many_new_fields_are_counted() -> None:
    """Many new fields are counted rather than listed."""
    line = summary_lines(summary(drift={"unknown": dict.fromkeys(map(str, range(100)), 1)}))[-1]
    assert line.endswith("and 88 more")
    assert len(line) < 200


@settings(deadline=None)
@given(st.text(), st.text())
def test_lines_have_no_control_characters(message: str, name: str) -> None:
    """Whatever a service sends, a line is a line without control characters."""
    stream = io.StringIO()
    console = Console(stream)
    console.line(message, level="warning")
    console.error(ServiceFailing(message, next_step=name))
    lines = stream.getvalue().split("\n")
    assert len(lines) in (3, 4)
    assert all(line.isprintable() for line in lines)


@settings(deadline=None)
@given(st.text())
def test_json_lines_lose_nothing(message: str) -> None:
    """Lines for machines have no control characters either, and nothing of the message is lost."""
    stream = io.StringIO()
    Console(stream, "json").line(message, level="warning", name=message)
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert (json.loads(line)["message"], json.loads(line)["name"]) == (message, message)


def test_unread_stream_stops_nothing() -> None:
    """A stream that nobody reads any more stops nothing."""

    class Broken(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    stream = Broken()
    progress = LineProgress(Console(stream), Clock(), noon)
    progress.started(["statements"], None, windows)
    progress.warned("look out")
    progress.finished(summary())
    assert stream.writes == 1


def test_errors_are_two_lines_at_most() -> None:
    stream = io.StringIO()
    Console(stream).error(ServiceFailing("It broke.", kept="All is kept.", next_step="Go on."))
    assert stream.getvalue() == "bulk-export: It broke.\n  All is kept. Go on.\n"


def test_time_left_follows_the_limits() -> None:
    """The time left follows the limits once all ends are known."""
    clock = Clock()
    tally = Tally(["a"], lambda: windows(300, 290.0), clock)
    assert tally.seconds_left() is None
    for _ in range(300):
        tally.add_page("a", 30)
    tally.endpoints["a"].end = 900
    assert tally.seconds_left() == pytest.approx(290 + 300)
    clock.now += 10
    assert tally.seconds_left() == pytest.approx(280 + 300 + 300 * 10 / 300, abs=1)
    for _ in range(600):
        tally.add_page("a", 30)
    assert tally.seconds_left() == 0
    assert "writing" in tally.status()


def test_resumed_pages_do_not_count_for_pace() -> None:
    """Pages of an interrupted run count as done, but not towards the pace."""
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(Console(stream), clock, noon)
    progress.started(["statements", "others"], None, windows)
    progress.resumed_endpoint("statements", 40, 12_000, 50)
    progress.resumed_endpoint("others", 0, 0, None)
    progress.page_stored("others", 1, 7)
    progress.end_found("others", 1)
    for page in range(41, 46):
        progress.page_stored("statements", page, 300)
    clock.now += 12
    progress.tick()
    # Five pages more at two seconds a page.
    assert stream.getvalue().splitlines()[-1] == (
        "12:00:00 46 of 51 pages, 13,507 records, 0 requests, fetching; about 10 s left"
    )


def test_empty_page_only_shows_the_end() -> None:
    """A page without records only shows where the end is."""
    tally = Tally(["a"], windows, Clock())
    tally.add_page("a", 300)
    tally.add_page("a", 0)
    tally.endpoints["a"].end = 1
    assert (tally.pages, tally.end, tally.seconds_left()) == (1, 1, 0)


def test_the_kind_of_progress_fits_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    kinds = {(kind, type(choose(kind, Console(Terminal()))).__name__) for kind in DISPLAYS}
    assert kinds == {
        ("auto", "RichProgress"),
        ("rich", "RichProgress"),
        ("plain", "LineProgress"),
        ("none", "SilentProgress"),
    }
    assert type(choose("auto", Console(io.StringIO()))) is LineProgress
    assert type(choose("rich", Console(Terminal(), "json"))) is LineProgress
    assert type(choose("none", Console(Terminal(), "json"))) is SilentProgress
    with pytest.raises(UsageError, match="loud"):
        choose("loud", Console(io.StringIO()))


def test_observer_does_nothing() -> None:
    """An observer does nothing by default."""
    silent = Observer()
    silent.started([], None, list)
    silent.tick()
    silent.finished(summary())
    silent.closed()


def test_sizes_and_times_are_readable() -> None:
    assert [clock_text(value) for value in (0.4, 59.4, 61, 3_700)] == ["0 s", "59 s", "1 min 01 s", "1 h 01 min"]
    assert [bytes_text(value) for value in (12, 1_200, 3_400_000, 5e9)] == ["12 B", "1.2 kB", "3.4 MB", "5.0 GB"]
