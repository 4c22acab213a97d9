"""The command that goes on, in messages of what ended an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.cli.next_command import name_next_command
from bulk_export.errors import (
    BegunOtherwise,
    BulkExportError,
    DirectoryInUse,
    Interrupted,
    LocalFailure,
    ServiceFailing,
    UsageError,
)
from bulk_export.output.run_arguments import RunArguments, write_arguments

SAME = "Do it. bulk-export resume 'my export' goes on with the same options."
OTHER = "bulk-export resume 'my export' goes on with it as it was begun. For another export, choose another --output."


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an unfinished export, whose name a shell takes for two words."""
    monkeypatch.chdir(tmp_path)
    path = Path("my export")
    (path / ".bulk-export").mkdir(parents=True)
    write_arguments(path, RunArguments(("statements",), {}))
    return path


@pytest.mark.parametrize(
    ("kind", "can_resume", "next_step"),
    [
        (Interrupted, True, "Do it. bulk-export resume 'my export' is enough for that."),
        (ServiceFailing, True, SAME),
        (LocalFailure, True, SAME),
        (LocalFailure, False, "Do it."),
        (UsageError, False, "Do it."),
        (DirectoryInUse, False, "Do it."),
        (BegunOtherwise, False, OTHER),
    ],
)
def test_going_on_is_named_where_it_helps(
    output: Path, kind: type[BulkExportError], can_resume: bool, next_step: str
) -> None:
    """The command is not promised to help against another process, wrong options, or what happened before the run."""
    error = kind("It broke.", next_step="Do it.")
    error.can_resume = can_resume
    name_next_command(error, output, is_resumed=False)
    assert error.next_step == next_step


def test_after_resume_the_same_command_is_named_once(output: Path) -> None:
    stopped, failed = Interrupted("Interrupted.", next_step="With --output."), ServiceFailing("No.", next_step="Again.")
    for error in (stopped, failed):
        error.can_resume = True
        name_next_command(error, output, is_resumed=True)
    assert stopped.next_step == "bulk-export resume 'my export' goes on from here."
    assert failed.next_step == "Again."


def test_an_export_that_does_not_say_how_it_was_begun(tmp_path: Path) -> None:
    """No command is named that would be refused."""
    error = Interrupted("Interrupted.", next_step="Again.")
    error.can_resume = True
    name_next_command(error, tmp_path, is_resumed=False)
    assert error.next_step == "Again."
