"""Gives a process on Unix what Windows offers: the calls that are missing there are, and files in use stay.

`sys.platform` and the separator of paths are as before, since the standard library chose by them when it was loaded.
What Windows does in addition to that is told by `core/compat`, and has tests of its own.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import select
import signal
import sys
import time
from asyncio import unix_events
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# What Windows does not have.
MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "uvloop")
_OS = (
    *("geteuid", "getegid", "getuid", "getgid", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"),
    *("pread", "pwrite", "fdatasync", "fchmod", "fchown", "chown", "fork", "mkfifo", "statvfs", "lockf", "sendfile"),
)
_TAKE_DIRECTORY = ("open", "stat", "mkdir", "unlink", "rmdir", "replace", "rename", "readlink", "link", "symlink")
_BINARY = 1 << 30


def lock_by_bytes(module: ModuleType | None = None) -> ModuleType:
    """A stand-in for `msvcrt`: a lock on the first byte is one on the whole file, between any two descriptors."""
    flocks = module or importlib.import_module("fcntl")
    msvcrt = ModuleType("msvcrt")
    msvcrt.LK_UNLCK, msvcrt.LK_NBLCK = 0, 2  # type: ignore[attr-defined]

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (os.lseek(descriptor, 0, os.SEEK_CUR), count) == (0, 1)
        try:
            flocks.flock(descriptor, flocks.LOCK_UN if mode == 0 else flocks.LOCK_EX | flocks.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    msvcrt.locking = locking  # type: ignore[attr-defined]
    return msvcrt


def install() -> None:
    """Make this process one of Windows, before anything of the package is imported."""
    # It chooses by `sys.platform`, and would not load any more.
    importlib.import_module("platformdirs")
    fcntl = importlib.import_module("fcntl")
    sys.modules["msvcrt"] = lock_by_bytes(fcntl)
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]  # None forbids the import
    real = {name: getattr(os, name) for name in (*_TAKE_DIRECTORY, "listdir", "fstat", "lstat", "fsync")}
    for name in _OS:
        delattr(os, name)
    os.O_BINARY = _BINARY  # type: ignore[attr-defined]
    os.supports_dir_fd.clear()
    del select.poll, signal.SIGHUP, time.clock_gettime, time.CLOCK_BOOTTIME

    def refused(call: Callable[..., Any], *names: Any, **directories: Any) -> Any:
        """Call without what Windows does not take."""
        follows = {"follow_symlinks": directories.pop("follow_symlinks")} if "follow_symlinks" in directories else {}
        if any(directories.pop(name, None) is not None for name in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
            raise NotImplementedError("dir_fd unavailable on this platform")
        if any(str(name).startswith("/proc/") for name in names):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return call(*names, **directories, **follows)

    def opened(path: Any, flags: int, mode: int = 0o777, **directories: Any) -> int:
        assert flags & _BINARY or path == os.devnull, f"{path} would be opened for text"
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        descriptor: int = refused(real["open"], path, flags & ~_BINARY, mode, **directories)
        os.set_inheritable(descriptor, False)
        return descriptor

    def status_of_windows(found: os.stat_result) -> os.stat_result:
        mode = found.st_mode | 0o666
        more = {name: getattr(found, name) for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")}
        return os.stat_result((mode, *found[1:4], 0, 0, *found[6:10]), more)

    def refuse_use(path: Any) -> None:
        """Windows neither moves nor removes a file that a process has open."""
        try:
            wanted = real["lstat"](path)
        except FileNotFoundError:
            return
        for number in real["listdir"]("/proc/self/fd"):
            try:
                if os.path.samestat(real["fstat"](int(number)), wanted):
                    raise PermissionError(errno.EACCES, f"{path} is open")
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise

    def moved(call: Callable[..., Any]) -> Callable[..., Any]:
        def move(*paths: Any, **directories: Any) -> Any:
            for path in paths:
                refuse_use(path)
            return refused(call, *paths, **directories)

        return move

    def synced(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real["fsync"](descriptor)

    def listed(path: Any = ".") -> Any:
        if isinstance(path, int):
            raise TypeError("listdir: path should be string, bytes, os.PathLike or None, not int")
        return refused(real["listdir"], path)

    os.open, os.fsync, os.listdir = opened, synced, listed
    for name in ("unlink", "remove", "replace", "rename"):
        setattr(os, name, moved(real["unlink" if name == "remove" else name]))
    for name in ("mkdir", "rmdir", "readlink", "link", "symlink"):
        setattr(os, name, lambda *paths, call=real[name], **more: refused(call, *paths, **more))
    os.stat = lambda path, **more: status_of_windows(refused(real["stat"], path, **more))
    os.lstat = lambda path: status_of_windows(refused(real["lstat"], path))
    os.fstat = lambda descriptor: status_of_windows(real["fstat"](descriptor))

    real_open = io.open

    def open_text(file: Any, *arguments: Any, **more: Any) -> Any:
        return refused(real_open, file, *arguments, **more)

    io.open = open_text  # type: ignore[assignment]

    def no_signals(*_: Any) -> None:
        raise NotImplementedError

    unix_events._UnixSelectorEventLoop.add_signal_handler = no_signals  # type: ignore[attr-defined]
