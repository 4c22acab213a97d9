"""Locks by the calls of Unix, by those of Windows, and by none."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from bulk_export.core.compat import locks
from bulk_export.core.compat.locks import lock_file, lock_for_sqlite, unlock_file
from tests.support.like_windows import lock_by_bytes


def test_windows_locks_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fcntl, a file is locked by msvcrt, whose refusal is that of any system."""
    monkeypatch.setattr(locks, "_FCNTL", None)
    monkeypatch.setattr(locks, "_MSVCRT", lock_by_bytes())
    with (tmp_path / "file").open("w+b") as first, (tmp_path / "file").open("r+b") as second:
        lock_file(first.fileno())
        with pytest.raises(BlockingIOError):
            lock_file(second.fileno())
        unlock_file(first.fileno())
        lock_for_sqlite(second.fileno())


def test_denied_lock_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network file systems call it a denied access that somebody else has the lock."""

    def flock(*_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (tmp_path / "file").open("w+b") as file, pytest.raises(BlockingIOError):
        lock_file(file.fileno())


def test_no_locks_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without both modules cannot lock, and says so."""
    monkeypatch.setattr(locks, "_FCNTL", None)
    with (tmp_path / "file").open("w+b") as file:
        with pytest.raises(OSError, match=r"(?i)not supported"):
            lock_file(file.fileno())
        unlock_file(file.fileno())
