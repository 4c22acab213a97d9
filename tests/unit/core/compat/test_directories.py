"""Open directories: the same by descriptors, as on Unix, and by paths, as in Windows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_export.core.compat import directories, locks, opening
from bulk_export.core.compat.directories import (
    close_directory,
    close_lock,
    entry_status,
    lock_directory,
    make_directory,
    names_in,
    open_directory,
    open_entry,
    open_lock,
    remove_directory,
    remove_file,
    replace_file,
    status_of,
    sync_entries,
)
from tests.support.like_windows import lock_by_bytes


@pytest.fixture(params=["descriptors", "paths"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "paths":
        monkeypatch.setattr(directories, "has_descriptors", lambda: False)
        monkeypatch.setattr(opening, "_NO_FOLLOW", 0)
        monkeypatch.setattr(locks, "_FCNTL", None)
        monkeypatch.setattr(locks, "_MSVCRT", lock_by_bytes())
        monkeypatch.setattr(directories, "state_directory", lambda: tmp_path / "state")
    return str(request.param)


@pytest.fixture
def opened(way: str, tmp_path: Path) -> Iterator[int]:
    (tmp_path / "held").mkdir()
    directory = open_directory(tmp_path / "held")
    yield directory
    close_directory(directory)


def test_work_by_name(opened: int, tmp_path: Path) -> None:
    """Files and directories are made, seen, moved and removed in an open directory."""
    os.close(open_entry("one", os.O_WRONLY | os.O_CREAT | os.O_EXCL, within=opened))
    make_directory("two", within=opened)
    below = open_directory("two", within=opened)
    replace_file("one", "new", source=opened, target=below)
    sync_entries(opened)
    assert (names_in(opened), names_in(below)) == (["two"], ["new"])
    assert (tmp_path / "held/two/new").stat().st_mode & 0o777 == 0o600
    assert entry_status("one", within=opened) is None
    remove_file("new", within=below)
    close_directory(below)
    remove_directory("two", within=opened)
    assert list((tmp_path / "held").iterdir()) == []


def test_links_and_files_are_refused(opened: int, tmp_path: Path) -> None:
    """A link, a file and what is missing are not opened as a directory, nor is a link as a file."""
    (tmp_path / "held/file").touch()
    (tmp_path / "held/link").symlink_to(tmp_path)
    for name, number in (("file", {errno.ENOTDIR}), ("link", {errno.ELOOP, errno.ENOTDIR}), ("none", {errno.ENOENT})):
        with pytest.raises(OSError) as failure:  # noqa: PT011  # the number is looked at
            open_directory(name, within=opened)
        assert failure.value.errno in number, name
    with pytest.raises(OSError, match="symbolic"):
        open_entry("link", os.O_RDONLY, within=opened)
    close_directory(open_directory(tmp_path / "held/link", follows=True))


def test_replaced_directory_is_noticed(opened: int, tmp_path: Path) -> None:
    """The status of an open directory stays that of the first one if another takes its name."""
    (tmp_path / "held").rename(tmp_path / "away")
    (tmp_path / "held").mkdir()
    assert os.path.samestat(status_of(opened), (tmp_path / "away").stat())
    (tmp_path / "held").rmdir()
    (tmp_path / "away").rename(tmp_path / "held")


@pytest.mark.usefixtures("way")
def test_directory_is_locked_once(tmp_path: Path) -> None:
    """A directory that is locked cannot be locked again, by any name, until it is closed; no file of that is left."""
    (tmp_path / "other").symlink_to(tmp_path)
    first, second = open_directory(tmp_path), open_directory(tmp_path / "other", follows=True)
    lock_directory(first)
    with pytest.raises(BlockingIOError):
        lock_directory(second)
    close_directory(first)
    lock_directory(second)
    close_directory(second)
    assert list(tmp_path.glob("state/locks/*")) == []


@pytest.mark.usefixtures("way")
def test_locked_file_is_removed(tmp_path: Path) -> None:
    """A locked file refuses others, and is gone when its lock is."""
    path = tmp_path / "daemon.lock"
    descriptor = open_lock(path)
    with pytest.raises(BlockingIOError):
        open_lock(path)
    close_lock(path, descriptor)
    assert not path.exists()
