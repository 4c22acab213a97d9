"""Directories that are held open, and what is done in them by name.

Unix opens a directory, and takes its descriptor and a name instead of a path: nobody can exchange what the path leads
to in between. Windows has no such calls. There an open directory is a number that stands for its path, and what it was
when it was opened is kept for comparison.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.compat.locks import lock_file, unlock_file
from bulk_export.core.compat.opening import open_file, refuse_link
from bulk_export.core.process import state_directory

_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_LOCKS = "locks"


@dataclass(slots=True)
class _Held:
    """A directory that is open by its path, and the file that locks it."""

    path: Path
    status: os.stat_result
    lock: tuple[Path, int] | None = None


# No descriptor is negative, so none of these numbers is taken for one.
_NUMBERS = itertools.count(-1_000, -1)
_HELD: dict[int, _Held] = {}


def has_descriptors() -> bool:
    """Whether directories are opened as files are."""
    return hasattr(os, "O_DIRECTORY")


def open_directory(path: str | os.PathLike[str], *, within: int | None = None, follows: bool = False) -> int:
    """Open a directory.

    Args:
        path: The directory.
        within: The open directory that a relative path starts from, by default the working directory.
        follows: Whether a link is followed.

    Returns:
        What stands for it, to be closed with `close_directory`.

    Raises:
        OSError: It cannot be opened, is no directory, or is a link that is not followed.
    """
    place, directory = _place(path, within)
    if has_descriptors():
        return os.open(place, _FLAGS | (0 if follows else _NO_FOLLOW), dir_fd=directory)
    if not follows:
        refuse_link(place)
    # This is an error for what does not exist, is no directory, or may not be read.
    with os.scandir(place):
        pass
    number = next(_NUMBERS)
    held = Path(place).absolute()
    _HELD[number] = _Held(held, held.stat())
    return number


def close_directory(directory: int) -> None:
    """Close an open directory, and unlock it."""
    held = _HELD.pop(directory, None)
    if held is None:
        os.close(directory)
    elif held.lock is not None:
        path, descriptor = held.lock
        close_lock(path, descriptor)


def lock_directory(directory: int) -> None:
    """Lock an open directory for this process alone, without waiting, until it is closed.

    Where a directory cannot be locked, a file in the user's state directory is: it is named for the path, and removed
    when the directory is closed.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: It cannot be locked.
    """
    held = _HELD.get(directory)
    if held is None:
        lock_file(directory)
        return
    import tempfile  # not on Unix, where it would make every start slower

    folder = (state_directory() or Path(tempfile.gettempdir(), "bulk-export")) / _LOCKS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = os.path.normcase(os.path.realpath(held.path))
    path = folder / hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
    held.lock = path, open_lock(path)


def open_lock(path: Path) -> int:
    """Open a file, made if it is missing, and lock it for this process alone, without waiting.

    Returns:
        Its descriptor, for `close_lock`.

    Raises:
        BlockingIOError: Another process has locked it.
        OSError: It cannot be opened or locked.
    """
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            lock_file(descriptor)
            # The process that held it may have removed the file before this one locked it.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def close_lock(path: Path, descriptor: int) -> None:
    """Remove a file that `open_lock` locked, and close it."""
    if has_descriptors():
        # Case 1: Unix removes an open file. Whoever opened it meanwhile finds that it has no name any more.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)
        return
    # Case 2: Windows removes only what nobody has opened.
    with contextlib.suppress(OSError):
        unlock_file(descriptor)
    os.close(descriptor)
    with contextlib.suppress(OSError):
        path.unlink()


def status_of(directory: int) -> os.stat_result:
    """The status of an open directory, even if its path leads elsewhere by now. Raises OSError."""
    held = _HELD.get(directory)
    return os.fstat(directory) if held is None else held.status


def names_in(directory: int) -> list[str]:
    """The names in an open directory, sorted. Raises OSError."""
    held = _HELD.get(directory)
    return sorted(os.listdir(directory if held is None else held.path))  # noqa: PTH208  # it may be a descriptor


def entry_status(name: str, *, within: int) -> os.stat_result | None:
    """The status of an entry of an open directory, without following a link; None if there is no such entry."""
    place, directory = _place(name, within)
    try:
        return os.stat(place, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def open_entry(name: str | os.PathLike[str], flags: int, *, within: int | None, follows: bool = False) -> int:
    """Open a file in an open directory, without waiting for a pipe; one that is made has mode 0600. Raises OSError."""
    place, directory = _place(name, within)
    return open_file(place, flags, within=directory, follows=follows, waits=False)


def make_directory(name: str, *, within: int) -> None:
    """Make a directory with mode 0700 in an open one. Raises OSError."""
    place, directory = _place(name, within)
    os.mkdir(place, 0o700, dir_fd=directory)


def remove_file(name: str, *, within: int) -> None:
    """Remove a file from an open directory. Raises OSError."""
    place, directory = _place(name, within)
    os.unlink(place, dir_fd=directory)


def remove_directory(name: str, *, within: int) -> None:
    """Remove an empty directory from an open one. Raises OSError."""
    place, directory = _place(name, within)
    os.rmdir(place, dir_fd=directory)


def replace_file(name: str, new: str, *, source: int, target: int) -> None:
    """Move a file from one open directory to another, in place of an earlier one. Raises OSError."""
    place, directory = _place(name, source)
    new_place, new_directory = _place(new, target)
    os.replace(place, new_place, src_dir_fd=directory, dst_dir_fd=new_directory)


def sync_entries(directory: int) -> None:
    """Make the entries of an open directory durable, if the system can be told to. Raises OSError."""
    if directory not in _HELD:
        os.fsync(directory)


def _place(name: str | os.PathLike[str], within: int | None) -> tuple[str | os.PathLike[str], int | None]:
    """What the calls of `os` take for a name in an open directory: a path, and a descriptor where there are some."""
    held = None if within is None else _HELD.get(within)
    return (name, within) if held is None else (held.path / name, None)
