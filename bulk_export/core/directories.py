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

from bulk_export.core.compat.directories import (
    close_directory,
    entry_status,
    make_directory,
    names_in,
    open_directory,
    open_entry,
    remove_file,
    status_of,
    sync_entries,
)
from bulk_export.core.compat.owners import is_foreign, rights_of_others

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
    directory = open_directory(path, within=within)
    try:
        yield directory
    finally:
        close_directory(directory)


@contextlib.contextmanager
def made_directory(name: str, *, within: int) -> Iterator[int]:
    """Open a directory in another one; make it with mode 0700 if it is missing. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        make_directory(name, within=within)
    with opened_directory(name, within=within) as descriptor:
        yield descriptor


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
    unsafe = _OPEN_DIRECTORY if may_be_read or stat.S_ISDIR(found.st_mode) else _OPEN_FILE
    is_open = rights_of_others(found.st_mode, unsafe)
    if not is_foreign(found) and not is_open:
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
    status = status_of(directory)
    is_others = is_foreign(status) and status.st_uid != 0
    is_open = bool(rights_of_others(status.st_mode, stat.S_IWOTH))
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
        sync_entries(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _made_here(within: int) -> os.stat_result | None:
    """The status of a new file of ours with mode 0600 in a directory, None if none can be made."""
    name = f"probe.{secrets.token_hex(8)}"
    try:
        descriptor = open_entry(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, within=within)
        try:
            return os.fstat(descriptor)
        finally:
            os.close(descriptor)
            remove_file(name, within=within)
    except OSError:
        return None


__all__ = [
    "entry_status",
    "is_same",
    "kind_of",
    "made_directory",
    "names_in",
    "opened_directory",
    "ownership_problem",
    "safety_problem",
    "sync_descriptor",
]
