"""Directories by descriptor: no link is followed on the way down, and nobody else's file is taken for ours.

A path can lead elsewhere between two looks at it; a descriptor cannot. What is created, moved and removed below the
output goes through the functions here, one name at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What the group or others may do: a file is neither read nor written by them, a directory not written.
_OPEN_FILE, _OPEN_DIRECTORY = 0o066, 0o022
# A file system that cannot sync a directory says so with one of these; its entries are as durable as it makes them.
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
}


@contextlib.contextmanager
def opened_directory(path: Path | str, *, within: int | None = None) -> Iterator[int]:
    """The descriptor of a directory that is no link; `within` is the directory that a relative path starts from.

    Raises OSError.
    """
    descriptor = os.open(path, _DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made_directory(name: str, *, within: int) -> Iterator[int]:
    """The descriptor of a directory in another one, made with mode 0700 where it is missing. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=within)
    with opened_directory(name, within=within) as descriptor:
        yield descriptor


def names_in(directory: int) -> list[str]:
    """The names in an open directory, in order. Raises OSError."""
    return sorted(os.listdir(directory))


def look_at(name: str, *, within: int) -> os.stat_result | None:
    """What stands under a name in a directory, a link itself and not what it leads to; None where nothing does."""
    try:
        return os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return None


def kind_of(found: os.stat_result) -> str:
    """What an entry is, in words: a symbolic link, a named pipe, …"""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "no file")


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two looks were at one file or directory."""
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def why_not_ours(found: os.stat_result, *, within: int, may_be_read: bool = False) -> str | None:
    """Why an entry of a directory cannot be what we made there: it belongs to somebody else, or is open to others.

    A file that `may_be_read` by others, because its owner shares it, may still not be written by them. Where owners or
    modes look unexpected, a file is made beside it for comparison: some file systems keep neither.
    """
    is_open = found.st_mode & (_OPEN_DIRECTORY if may_be_read or stat.S_ISDIR(found.st_mode) else _OPEN_FILE)
    if found.st_uid == os.geteuid() and not is_open:
        return None
    ours = _made_here(within)
    if ours is None or found.st_uid != ours.st_uid:
        return "belongs to another user"
    if is_open & ~ours.st_mode:
        return "can be written by others" if may_be_read else "can be read or written by others"
    return None


def why_unsafe(directory: int) -> str | None:
    """Why what we keep in an open directory is not safe there: another user could put something else in its place.

    The administrator may own it, as with a mounted volume, and its group may write to it. Where owners or modes look
    unexpected, a file is made in it for comparison: some file systems keep neither.
    """
    found = os.fstat(directory)
    is_others = found.st_uid not in (os.geteuid(), 0)
    is_open = bool(found.st_mode & stat.S_IWOTH)
    if not (is_others or is_open):
        return None
    ours = _made_here(directory)
    if ours is None:
        return None  # who cannot write there hears that
    if is_others and found.st_uid != ours.st_uid:
        return "belongs to another user"
    return "can be written to by everybody" if is_open and not ours.st_mode & stat.S_IWOTH else None


def sync_descriptor(descriptor: int) -> None:
    """Make the entries of an open directory durable, as far as its file system can. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _made_here(within: int) -> os.stat_result | None:
    """How a file with mode 0600 of ours looks in a directory, None where none can be made."""
    name = f"probe.{secrets.token_hex(8)}"
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=within)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
            os.unlink(name, dir_fd=within)
    except OSError:
        return None
