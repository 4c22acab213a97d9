"""The displays on a real terminal: what stands on the screen after a run, on wide and on narrow ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulk_export.errors import ServiceFailing
from bulk_export.progress import choose
from bulk_export.progress.console import Console
from bulk_export.progress.run_state import RunState
from bulk_export.progress.time_left import Stage, WorkLeft
from tests.support.progress_run import summary, windows
from tests.support.terminal_screen import Terminal, open_terminal

NAME = "participant-declarations"
ERROR = ServiceFailing(
    "Page 12 of participant-declarations failed 8 times, last: status 503.",
    kept="Every page stored so far is kept.",
    next_step="Run the same command again when the service answers.",
)
SENTENCES = (
    str(ERROR.what),
    f"{ERROR.kept} {ERROR.next_step}",
    "a record that moved may be missing, so use --consistent, or export it again when it is quiet",
)


def play(terminal: Terminal, kind: str) -> None:
    """A run with many events; it fails first, and then another one succeeds."""
    console = Console(terminal.stream)
    for fails in (True, False):
        display = choose(kind, console)
        display.started([NAME, "statements"], Path("exports"), lambda: windows(300, 0.0))
        display.running(lambda: RunState(WorkLeft((Stage(300, 1.0, 1.0),))))
        display.resumed_endpoint(NAME, 11, 3_300, 300)
        display.retrying(NAME, 12, "status 503", 1.5)
        display.warned("the service gives 100 records at once where 300 were asked for; all pages were read by that.")
        display.closed()
        if fails:
            console.error(ERROR)
        else:
            display.finished(summary(changed_during_export=True, name=NAME))


@pytest.mark.parametrize("columns", [50, 80, 120])
@pytest.mark.parametrize("kind", ["rich", "plain"])
def test_no_word_is_broken(kind: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sentence is on the screen with whole words; a wide terminal may break lines itself."""
    # In the tests, standard streams are no terminal, whose width the display would take.
    monkeypatch.setenv("COLUMNS", str(columns))
    with open_terminal(columns) as terminal:
        play(terminal, kind)
        shown = terminal.screen()
    joined = " ".join(" ".join(shown).split())
    if columns <= 80:
        assert all(sentence in joined for sentence in SENTENCES)
        assert "the service gives 100 records at once where 300 were asked for" in joined
    assert max(map(len, shown)) <= columns


@pytest.mark.parametrize("columns", [50, 120])
def test_last_state_stays(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure the state stands above the error, after success above the summary, each once."""
    # In the tests, standard streams are no terminal, whose width the display would take.
    monkeypatch.setenv("COLUMNS", str(columns))
    with open_terminal(columns) as terminal:
        play(terminal, "rich")
        shown = " ".join(" ".join(terminal.screen()).split())
    assert shown.count("11/300") == 2
    assert shown.count("in all, 0 requests, ended while fetching.") == 2
    assert shown.index("ended while fetching") < shown.index("failed 8 times") < shown.index("12,345")
    assert "Ctrl-C" not in shown


def test_plain_lines_begin_with_the_time() -> None:
    with open_terminal(120) as terminal:
        play(terminal, "plain")
        first = terminal.screen()[0]
    assert re.fullmatch(rf"\d\d:\d\d:\d\d exporting {NAME}, statements into exports", first)
