"""Access to directories by descriptor, so that no link is followed, and files of others are recognised.

A path can lead elsewhere between two uses of it; a descriptor cannot. Whatever is created, moved and removed below the
output goes through these functions, one name at a time.
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
# Permissions of group and others that make a file or a directory unsafe: to read or write it, or to write it.
_OPEN_FILE, _OPEN_DIRECTORY = 0o066, 0o022
# Errors of file systems that cannot sync a directory. Its entries are then as durable as the file system makes them.
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
    """Open a directory that is not a link, and close it at the end of the block.

    Args:
        path: The directory.
        within: The open directory that a relative path starts from, by default the working directory.

    Raises:
        OSError: It cannot be opened, or is a link.
    """
    descriptor = os.open(path, _DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made_directory(name: str, *, within: int) -> Iterator[int]:
    """Open a directory in another one; make it with mode 0700 if it is missing. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=within)
    with opened_directory(name, within=within) as descriptor:
        yield descriptor


def names_in(directory: int) -> list[str]:
    """The names in an open directory, sorted. Raises OSError."""
    return sorted(os.listdir(directory))


def entry_status(name: str, *, within: int) -> os.stat_result | None:
    """The status of an entry of an open directory, without following a link; None if there is no such entry."""
    try:
        return os.stat(name, dir_fd=within, follow_symlinks=False)
    except FileNotFoundError:
        return None


def kind_of(found: os.stat_result) -> str:
    """The kind of an entry in words: `a symbolic link`, `a named pipe`, …"""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "no file")


def is_same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two statuses are of the same file or directory."""
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def ownership_problem(found: os.stat_result, *, within: int, may_be_read: bool = False) -> str | None:
    """Why an entry of a directory cannot be ours alone: it belongs to another user, or others have access to it.

    Some file systems keep neither owners nor modes. So if these are unexpected, a file is made for comparison.

    Args:
        found: The status of the entry.
        within: The open directory that it is in.
        may_be_read: Whether others may read a file that they cannot write.

    Returns:
        The end of a sentence about it, or None if it may be ours.
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


def safety_problem(directory: int) -> str | None:
    """Why files of ours are not safe in an open directory: another user could replace them.

    The administrator may own the directory, as with a mounted volume, and its group may write to it. If owner or mode
    are unexpected, a file is made for comparison, as in `ownership_problem`.

    Returns:
        The end of a sentence about it, or None if it is safe.
    """
    status = os.fstat(directory)
    is_others = status.st_uid not in (os.geteuid(), 0)
    is_open = bool(status.st_mode & stat.S_IWOTH)
    if not (is_others or is_open):
        return None
    ours = _made_here(directory)
    if ours is None:
        return None  # no file can be made there, which is reported elsewhere
    if is_others and status.st_uid != ours.st_uid:
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
    """The status of a new file of ours with mode 0600 in a directory, None if none can be made."""
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
