"""What is taken for ours: by kind, owner and mode, compared with what the file system makes of a new file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.core import directories
from bulk_export.core.directories import entry_status, made_directory, opened_directory, ownership_problem
from bulk_export.core.files import make_directory_below, move_file, open_regular
from bulk_export.errors import LocalFailure


def reason(path: Path) -> str | None:
    with opened_directory(path.parent) as above:
        found = entry_status(path.name, within=above)
        assert found is not None
        return ownership_problem(found, within=above)


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o700, False), (0o640, True), (0o602, True)])
def test_file_open_to_others_is_not_ours(tmp_path: Path, mode: int, refused: bool) -> None:
    """A file that others may read or write is not ours."""
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    assert (reason(tmp_path / "file") is not None) == refused
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("mode", "refused"), [(0o700, False), (0o755, False), (0o770, True), (0o777, True)])
def test_a_directory_that_others_may_write_is_not_ours(tmp_path: Path, mode: int, refused: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(mode)
    assert (reason(tmp_path / "folder") is not None) == refused


def test_file_system_without_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system keeps no modes, a file is as private as it can be."""
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o644)
    (tmp_path / "like").touch()
    (tmp_path / "like").chmod(0o644)
    monkeypatch.setattr(directories, "_made_here", lambda within: (tmp_path / "like").stat())
    assert reason(tmp_path / "file") is None
    (tmp_path / "file").chmod(0o666)
    assert reason(tmp_path / "file") == "can be read or written by others"


def test_other_owner_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another owner is not ours."""
    (tmp_path / "file").touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    # The new file that it is compared with belongs to whoever runs this, as the old one does.
    assert reason(tmp_path / "file") is None
    monkeypatch.setattr(directories, "_made_here", lambda within: None)
    assert reason(tmp_path / "file") == "belongs to another user"


def test_link_is_no_directory(tmp_path: Path) -> None:
    """A link is not accepted as a directory to make things in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    with pytest.raises(LocalFailure, match="link is a symbolic link"):
        make_directory_below(tmp_path, "link", "below")
    with opened_directory(tmp_path) as above, pytest.raises(OSError), made_directory("link", within=above):  # noqa: PT011
        pass
    assert [entry.name for entry in (tmp_path / "home").iterdir()] == []


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a named pipe"):
        open_regular(tmp_path / "pipe")


def test_move_leaves_nothing(tmp_path: Path) -> None:
    """A file is moved within a file system, and nothing is left."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/file").write_text("new")
    (tmp_path / "b/file").write_text("old")
    with opened_directory(tmp_path / "a") as source, opened_directory(tmp_path / "b") as target:
        assert move_file("file", source, target, target) is False
    assert (tmp_path / "b/file").read_text() == "new"
    assert list((tmp_path / "a").iterdir()) == []
