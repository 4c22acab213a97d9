"""The rules of an output directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.directory import check_replaceable, inspect_output, locked_directory, prepare_output
from bulk_export.output.file_names import ARCHIVE, MANIFEST, WORKING_DIRECTORY

LOCK = """
import pathlib, sys
from bulk_export.output.directory import locked_directory
from bulk_export.errors import UsageError
try:
    with locked_directory(pathlib.Path(sys.argv[1])): print('held')
except UsageError as error: print(error)
"""


def test_only_one_process_holds_a_directory(tmp_path: Path) -> None:
    """A second process is refused while the directory is held, and not afterwards; no file is left."""

    def second() -> str:
        return subprocess.run(
            [sys.executable, "-c", LOCK, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout

    with locked_directory(tmp_path):
        assert "Another process is exporting" in second()
    assert second() == "held\n"
    assert list(tmp_path.iterdir()) == []


def test_usable_directories(tmp_path: Path) -> None:
    """New, empty, unfinished and finished directories can be used."""
    assert inspect_output(tmp_path / "new") is False
    assert not (tmp_path / "new").exists()
    assert inspect_output(tmp_path) is False
    prepare_output(tmp_path)
    assert inspect_output(tmp_path) is False
    (tmp_path / MANIFEST).write_text("{}")
    assert inspect_output(tmp_path) is True


def occupy_with_file(path: Path) -> None:
    path.write_text("mine")


def occupy_with_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent / "elsewhere")


def occupy_with_foreign_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.doc").write_text("mine")


def occupy_with_linked_state(path: Path) -> None:
    path.mkdir()
    (path.parent / "elsewhere").mkdir()
    (path / WORKING_DIRECTORY).symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    "occupy", [occupy_with_file, occupy_with_link, occupy_with_foreign_files, occupy_with_linked_state]
)
def test_foreign_output_is_refused_and_untouched(tmp_path: Path, occupy: Callable[[Path], None]) -> None:
    target = tmp_path / "out"
    occupy(target)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        inspect_output(target)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_unusable_path_is_wrong_usage(tmp_path: Path) -> None:
    """An output that cannot be made is the user's mistake, not a failure of the disk."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        prepare_output(tmp_path / "file" / "out")


@pytest.mark.parametrize(("owner", "mode", "reason"), [(12345, 0o700, "another user"), (0, 0o777, "by everybody")])
def test_output_others_could_replace_is_refused(tmp_path: Path, owner: int, mode: int, reason: str) -> None:
    """Nothing is made in a directory in which another user could replace it."""
    if os.geteuid() != 0:
        pytest.skip("directories of others can be made by root only")
    output = tmp_path / "out"
    output.mkdir()
    output.chmod(mode)
    os.chown(output, owner, -1)
    with pytest.raises(UsageError, match=reason):
        prepare_output(output)
    assert list(output.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "is_directory"), [("things/part-00000.parquet", False), ("things", False), ("things/part-00000.csv", True)]
)
def test_foreign_part_is_not_replaced(tmp_path: Path, name: str, is_directory: bool) -> None:
    """Without a manifest, whatever has the name of a part or of its directory is in the way."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).mkdir() if is_directory else (tmp_path / name).touch()
    with pytest.raises(DamagedState, match="in the way"):
        check_replaceable(tmp_path, ["things"], finished=False, keep_pages=False)


def test_other_files_are_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    (tmp_path / "things/notes.txt").touch()
    check_replaceable(tmp_path, ["things"], finished=False, keep_pages=False)
    check_replaceable(tmp_path / "new", ["things"], finished=False, keep_pages=False)


def test_foreign_archive_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).touch()
    check_replaceable(tmp_path, ["things"], finished=False, keep_pages=False)
    with pytest.raises(DamagedState, match="in the way"):
        check_replaceable(tmp_path, ["things"], finished=False, keep_pages=True)
