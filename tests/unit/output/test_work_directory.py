"""Where an export works, and how its directories are held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import JOURNAL, MANIFEST, POINTER, WORKING_DIRECTORY
from bulk_export.output.work_directory import open_work_directory

CAP = 1 << 20


def start(output: Path, work_dir: Path | None = None) -> Path:
    """Begin an export, and return the directory of its working state."""
    with open_work_directory(output, work_dir, ["things"], overwrite=False, keep_pages=False) as work:
        work.open_journal(cap=CAP).close()
        return work.state


def test_working_state_is_in_the_output(tmp_path: Path) -> None:
    assert start(tmp_path / "out") == tmp_path / "out" / WORKING_DIRECTORY


def test_pointer_names_another_directory(tmp_path: Path) -> None:
    """With `--work-dir`, a file in the output names the directory of the working state."""
    state = start(tmp_path / "out", tmp_path / "work")
    assert state.parent == tmp_path / "work"
    pointer = tmp_path / "out" / WORKING_DIRECTORY / POINTER
    assert json.loads(pointer.read_text()) == {"work_dir": str(state)}


def test_unfinished_export_keeps_its_directory(tmp_path: Path) -> None:
    """An export that is under way is refused with another `--work-dir`, or without the one that it has."""
    start(tmp_path / "a", tmp_path / "work")
    start(tmp_path / "b")
    with pytest.raises(UsageError, match="lies in"):
        start(tmp_path / "a")
    with pytest.raises(UsageError, match="lies in"):
        start(tmp_path / "a", tmp_path / "other")
    with pytest.raises(UsageError, match="lies in"):
        start(tmp_path / "b", tmp_path / "work")
    start(tmp_path / "a", tmp_path / "work")


def test_damaged_pointer_is_refused(tmp_path: Path) -> None:
    start(tmp_path / "out", tmp_path / "work")
    (tmp_path / "out" / WORKING_DIRECTORY / POINTER).write_text('{"work_dir": "relative"}')
    with pytest.raises(DamagedState, match="does not name"):
        start(tmp_path / "out", tmp_path / "work")


def test_lost_working_state_is_noticed(tmp_path: Path) -> None:
    """If the directory that the pointer names is gone, the export does not silently start from the beginning."""
    state = start(tmp_path / "out", tmp_path / "work")
    (state / JOURNAL).unlink()
    for file in state.iterdir():
        file.unlink()
    state.rmdir()
    with pytest.raises(DamagedState, match="any more"):
        start(tmp_path / "out", tmp_path / "work")


def test_finished_export_is_not_replaced(tmp_path: Path) -> None:
    """Without `--overwrite` a finished export is refused, and leftovers of its working state are removed."""
    output = tmp_path / "out"
    (output / WORKING_DIRECTORY).mkdir(parents=True, mode=0o700)
    output.chmod(0o700)
    (output / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="holds a finished export"):
        start(output)
    assert [entry.name for entry in output.iterdir()] == [MANIFEST]


def test_clear_removes_the_working_state(tmp_path: Path) -> None:
    """What is not of an export stays, and is named."""
    output = tmp_path / "out"
    with open_work_directory(output, tmp_path / "work", ["things"], overwrite=False, keep_pages=False) as work:
        work.open_journal(cap=CAP).close()
        (work.state / "notes.txt").touch()
        assert work.clear() == [work.state / "notes.txt"]
    assert list(output.iterdir()) == []
    assert [entry.name for entry in work.state.iterdir()] == ["notes.txt"]
