"""Links, pipes, devices and other users' files in place of the files of an export."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest


def snapshot(path: Path) -> dict[str, Any]:
    """Return modes, owners, link targets and contents of a path and everything below it."""
    entries: dict[str, Any] = {}
    for entry in (path, *path.rglob("*")):
        stats = entry.lstat()
        content: Any = None
        if stat.S_ISLNK(stats.st_mode):
            content = entry.readlink()
        elif stat.S_ISREG(stats.st_mode):
            content = entry.read_bytes()
        entries[str(entry)] = (stats.st_mode, stats.st_uid, content)
    return entries


def link(path: Path, outside: Path) -> None:
    """Move the entry at the path outside, and leave a link to it."""
    if path.exists():
        path.rename(outside / "target")
    path.symlink_to(outside / "target")


def link_to_home(path: Path, outside: Path) -> None:
    """Put a link to the directory outside in place of the path."""
    _remove(path)
    path.symlink_to(outside)


def pipe(path: Path, outside: Path) -> None:
    """Put a named pipe in place of the path."""
    _remove(path)
    os.mkfifo(path, 0o600)


def device(path: Path, outside: Path) -> None:
    """Put a device in place of the path."""
    _remove(path)
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("devices cannot be made here")


def second_name(path: Path, outside: Path) -> None:
    """Give the file at the path a second name outside."""
    _make_private(path)
    os.link(path, outside / "second name")


def somebody_elses(path: Path, outside: Path) -> None:
    """Give the entry at the path to another user."""
    if os.geteuid() != 0:
        pytest.skip("files of others can be made by root only")
    _make_private(path)
    os.chown(path, 12345, 12345)


def open_to_all(path: Path, outside: Path) -> None:
    """Let everybody write to the entry at the path."""
    if not path.exists():
        path.write_bytes(b"")
    path.chmod(0o777 if path.is_dir() else 0o666)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_private(path: Path) -> None:
    if not path.exists():
        path.write_bytes(b"")
        path.chmod(0o600)
