"""Counts the calls that change the disk, so that the n-th one can fail, be interrupted by a kill, or be watched.

Calls of Python go through `os`; those of SQLite through the table of system calls that its Unix layer keeps, which
can be changed at run time. SQLite's own fsync is not in that table.
"""

from __future__ import annotations

import _sqlite3
import contextlib
import ctypes
import errno
import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

# What happens at a call: returns how much of a write goes through before the error, None for all of it.
Act = Callable[[int, str], "Disturbance | None"]

_PYTHON_CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "fsync", "fdatasync", "chmod", "fchmod")
_SQLITE_CALLS = {
    "open": (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
    "write": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t),
    "pwrite": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    "pwrite64": (ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64),
    "ftruncate": (ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    "fchmod": (ctypes.c_int, ctypes.c_int, ctypes.c_uint),
    "fallocate": (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
    "unlink": (ctypes.c_int, ctypes.c_char_p),
    "openDirectory": (ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)),
}


class Disturbance:
    """Fail the call with `error`, or kill this process in it; if `torn`, half of a write is done before."""

    def __init__(self, error: int | None, *, torn: bool) -> None:
        self.error = error
        self.torn = torn

    def strike(self) -> OSError:
        """Return the error to raise; does not return if the process is killed."""
        if self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()
        assert self.error is not None
        return OSError(self.error, os.strerror(self.error))


class Counter:
    """Numbers the calls of all threads from 1, and decides what happens to each."""

    def __init__(self, act: Act) -> None:
        self.calls: list[str] = []
        self._act = act
        self._lock = threading.Lock()

    def next(self, name: str) -> Disturbance | None:
        with self._lock:
            self.calls.append(name)
            return self._act(len(self.calls), name)


def kill_at(wanted: int, *, torn: bool) -> Act:
    """Kill the process in the call `wanted`: before it has an effect, or in the middle of a write."""
    return lambda number, _: Disturbance(None, torn=torn) if number == wanted else None


def fail_at(wanted: int, error: int, *, lasting: bool, torn: bool = False) -> Act:
    """Fail the call `wanted`; with `lasting`, also each later one that needs space."""

    def act(number: int, name: str) -> Disturbance | None:
        if number == wanted or (lasting and number > wanted and not frees_room(name)):
            return Disturbance(error, torn=torn)
        return None

    return act


def frees_room(name: str) -> bool:
    """Whether the call succeeds on a full disk."""
    return name in ("unlink", "rmdir", "ftruncate", "rename", "replace", "open existing")


class _Vfs(ctypes.Structure):
    """The head of SQLite's `sqlite3_vfs`, down to the table of system calls."""


_SET = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Vfs), ctypes.c_char_p, ctypes.c_void_p)
_GET = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Vfs), ctypes.c_char_p)
_Vfs._fields_ = [
    ("version", ctypes.c_int),
    ("file_size", ctypes.c_int),
    ("longest_path", ctypes.c_int),
    ("next", ctypes.c_void_p),
    ("name", ctypes.c_char_p),
    ("data", ctypes.c_void_p),
    *((f"method_{number}", ctypes.c_void_p) for number in range(13)),
    ("set_system_call", _SET),
    ("get_system_call", _GET),
]


class _CountedFile(io.FileIO):
    def __init__(self, descriptor: int, mode: str, counter: Counter) -> None:
        super().__init__(descriptor, mode)
        self._counter = counter

    def write(self, content: Any, /) -> int:
        disturbance = self._counter.next("write")
        if disturbance is not None:
            if disturbance.torn:
                view = memoryview(content).cast("B")
                super().write(view[: len(view) // 2])
            raise disturbance.strike()
        return super().write(content) or 0


@contextlib.contextmanager
def counted(act: Act) -> Iterator[Counter]:
    """Count the disk calls of this process, and call `act` for each."""
    counter = Counter(act)
    with contextlib.ExitStack() as stack:
        for name in _PYTHON_CALLS:
            stack.enter_context(_counted_python(counter, name))
        stack.enter_context(_counted_writes(counter))
        stack.enter_context(_counted_descriptors(counter))
        stack.enter_context(_counted_sqlite(counter))
        yield counter


@contextlib.contextmanager
def _counted_python(counter: Counter, name: str) -> Iterator[None]:
    original = getattr(os, name)

    def call(*arguments: Any, **named: Any) -> Any:
        existing = name == "open" and not arguments[1] & os.O_CREAT
        disturbance = counter.next("open existing" if existing else name)
        if disturbance is not None:
            raise disturbance.strike()
        return original(*arguments, **named)

    setattr(os, name, call)
    try:
        yield
    finally:
        setattr(os, name, original)


@contextlib.contextmanager
def _counted_writes(counter: Counter) -> Iterator[None]:
    original = os.pwrite

    def pwrite(descriptor: int, content: Any, position: int, /) -> int:
        disturbance = counter.next("pwrite")
        if disturbance is not None:
            if disturbance.torn:
                view = memoryview(content).cast("B")
                original(descriptor, view[: len(view) // 2], position)
            raise disturbance.strike()
        return original(descriptor, content, position)

    os.pwrite = pwrite
    try:
        yield
    finally:
        os.pwrite = original


@contextlib.contextmanager
def _counted_descriptors(counter: Counter) -> Iterator[None]:
    original = os.fdopen

    def fdopen(descriptor: int, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if mode != "wb":
            return original(descriptor, mode, *arguments, **named)
        return io.BufferedWriter(_CountedFile(descriptor, mode, counter))

    os.fdopen = fdopen
    try:
        yield
    finally:
        os.fdopen = original


@contextlib.contextmanager
def _counted_sqlite(counter: Counter) -> Iterator[None]:
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None)
    kept = []
    for name, (result, *parameters) in _SQLITE_CALLS.items():
        address = vfs.contents.get_system_call(vfs, name.encode())
        if address:
            kind = ctypes.CFUNCTYPE(result, *parameters, use_errno=True)
            replacement = kind(_sqlite_call(counter, name, kind(address)))
            vfs.contents.set_system_call(vfs, name.encode(), ctypes.cast(replacement, ctypes.c_void_p))
            kept.append((name, replacement, address))
    try:
        yield
    finally:
        for name, _, _ in kept:
            vfs.contents.set_system_call(vfs, name.encode(), None)


@contextlib.contextmanager
def no_shared_memory() -> Iterator[list[int]]:
    """SQLite cannot map a file into memory, as on FUSE with direct_io; counts the attempts."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(None)
    attempts: list[int] = []

    def refuse(*arguments: Any) -> int:
        attempts.append(len(attempts))
        ctypes.set_errno(errno.ENODEV)
        return ctypes.c_void_p(-1).value or 0

    kind = ctypes.CFUNCTYPE(
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_int64,
        use_errno=True,
    )
    replacement = kind(refuse)
    vfs.contents.set_system_call(vfs, b"mmap", ctypes.cast(replacement, ctypes.c_void_p))
    try:
        yield attempts
    finally:
        vfs.contents.set_system_call(vfs, b"mmap", None)


def _sqlite_call(counter: Counter, name: str, original: Any) -> Callable[..., int]:
    def call(*arguments: Any) -> int:
        existing = name == "open" and not arguments[1] & os.O_CREAT
        disturbance = counter.next("open existing" if existing else name)
        if disturbance is not None:
            if disturbance.torn and name in ("write", "pwrite", "pwrite64"):
                descriptor, content, size, *rest = arguments
                original(descriptor, content, size // 2, *rest)
            ctypes.set_errno(disturbance.strike().errno or errno.EIO)
            return -1
        done: int = original(*arguments)
        return done

    return call
