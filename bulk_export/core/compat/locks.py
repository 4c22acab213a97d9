"""Locks on open files, which the system gives back when the process ends.

Unix has `flock` on the whole file, and `lockf`, which is what SQLite uses; Windows locks bytes (`msvcrt.locking`). A
lock on the first byte serves, since files that are locked hold nothing.
"""

from __future__ import annotations

import errno
import importlib
import os
from types import ModuleType


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_FCNTL, _MSVCRT = _module("fcntl"), _module("msvcrt")


def lock_file(descriptor: int) -> None:
    """Lock an open file or directory for this process alone, without waiting. It is unlocked when it is closed.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: It cannot be locked there.
    """
    try:
        if _FCNTL is not None:
            _FCNTL.flock(descriptor, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)
        else:
            _lock_byte(descriptor)
    except OSError as error:
        # Windows calls it a denied access, or a deadlock; so do some network file systems.
        if error.errno in (errno.EACCES, errno.EDEADLK):
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK)) from None
        raise


def lock_for_sqlite(descriptor: int) -> None:
    """Lock an open file in the way that SQLite does, to learn whether its file system can. Raises OSError."""
    if _FCNTL is not None:
        _FCNTL.lockf(descriptor, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB)
    else:
        _lock_byte(descriptor)


def unlock_file(descriptor: int) -> None:
    """Unlock a file before it is closed: Windows may do that some time later. Raises OSError."""
    if _FCNTL is None and _MSVCRT is not None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        _MSVCRT.locking(descriptor, _MSVCRT.LK_UNLCK, 1)


def _lock_byte(descriptor: int) -> None:
    if _MSVCRT is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    os.lseek(descriptor, 0, os.SEEK_SET)
    _MSVCRT.locking(descriptor, _MSVCRT.LK_NBLCK, 1)
