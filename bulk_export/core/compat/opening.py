"""Files opened by name, and bytes read from and written to a position in them.

| Unix | Windows |
| --- | --- |
| a link is refused by the call that opens the file | it is looked for before |
| a pipe is opened without waiting for its other end | there are none in directories |
| bytes are bytes | without a flag, line ends would be translated |
| `pread` and `pwrite` name the position | the position is set, then used, under a lock |
"""

from __future__ import annotations

import errno
import os
import stat
import threading

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_ALWAYS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Of an entry of a directory in Windows: a link, a mount point, or another name that stands for something elsewhere.
_REPARSE_POINT = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0x400)

_POSITION = threading.Lock()


def open_file(
    path: str | os.PathLike[str],
    flags: int,
    *,
    within: int | None = None,
    follows: bool = False,
    waits: bool = True,
) -> int:
    """Open a file; one that is made has mode 0600.

    Args:
        path: The file.
        flags: Those of `os.open` that every system has: how it is opened, and whether it is made.
        within: The descriptor that a relative path starts from, where directories have descriptors.
        follows: Whether a link is followed.
        waits: Whether opening a pipe waits for its other end.

    Returns:
        The descriptor, which the caller closes.

    Raises:
        OSError: It cannot be opened, or is a link that is not followed.
    """
    if not follows and not _NO_FOLLOW:
        refuse_link(path)
    flags |= _ALWAYS | (0 if follows else _NO_FOLLOW) | (0 if waits else _NO_WAIT)
    return os.open(path, flags, 0o600, dir_fd=within)


def refuse_link(path: str | os.PathLike[str]) -> None:
    """Raise OSError, as `O_NOFOLLOW` does, if there is a link of this name. What does not exist is none."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode) or getattr(status, "st_file_attributes", 0) & _REPARSE_POINT:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))


def read_at(descriptor: int, size: int, position: int) -> bytes:
    """Read up to `size` bytes from a position of an open file. Raises OSError."""
    if hasattr(os, "pread"):
        found: bytes = os.pread(descriptor, size, position)
        return found
    with _POSITION:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.read(descriptor, size)


def write_at(descriptor: int, content: memoryview, position: int) -> int:
    """Write bytes to a position of an open file; return how many were written. Raises OSError."""
    if hasattr(os, "pwrite"):
        written: int = os.pwrite(descriptor, content, position)
        return written
    with _POSITION:
        os.lseek(descriptor, position, os.SEEK_SET)
        return os.write(descriptor, content)


def sync_contents(descriptor: int) -> None:
    """Make the contents of an open file durable. Raises OSError; then nobody knows what is."""
    # macOS and some other systems cannot sync the contents alone.
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)
