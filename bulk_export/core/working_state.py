"""What of a working directory is ours: checked before it is used, and all that is ever removed of it.

A file counts as ours by its name and place. What else lies there is the user's own, and stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from bulk_export.core.directories import kind_of, look_at, names_in, opened_directory, why_not_ours
from bulk_export.errors import DamagedState

JOURNAL = "journal.sqlite"
ARCHIVE = "pages.sqlite"
PARTIAL = ".partial"
# A part file of any format.
PART_NAME = re.compile(r"part-[0-9]{5,9}\.(?:parquet|csv|ndjson)(?:\.gz|\.zst)?", re.ASCII)
# The directory of one conversion of an endpoint.
REVISION_NAME = re.compile(r"revision-[0-9]{1,9}", re.ASCII)
# SQLite's own files beside a database.
SQLITE_SUFFIXES = ("", "-wal", "-shm", "-journal")

_DATABASE = re.compile(rf"{re.escape(JOURNAL)}(?:-wal|-shm|-journal)?", re.ASCII)
_FILE = re.compile(
    rf"{_DATABASE.pattern}"
    rf"|{re.escape(ARCHIVE)}(?:{re.escape(PARTIAL)}(?:-wal|-shm|-journal)?)?"
    rf"|{PART_NAME.pattern}(?:{re.escape(PARTIAL)})?"
    r"|manifest\.json|elsewhere\.json|[a-z]{1,20}\.lock|\.[a-z]{1,20}\.json\.[0-9a-f]{16}|(?:probe|copy)\.[0-9a-f]{16}",
    re.ASCII,
)
_NESTED = r"[0-9]{1,9}|again-[a-z0-9_-]{1,128}"
# Parts by endpoint and revision; the exports that polls make, by poll, in numbered directories and others for a second
# look at an endpoint.
_DIRECTORY = re.compile(rf"parts|{REVISION_NAME.pattern}|full|changes|[0-9a-f]{{32}}|{_NESTED}|\.bulk-export", re.ASCII)
# Where the directories of endpoints lie, and how these may be called.
_HOLDS_ENDPOINTS = re.compile(rf"parts|{_NESTED}", re.ASCII)
_ENDPOINT = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
# Everything in it is written by us and by the database that works there.
_SCRATCH = "merge"
_DEEPEST = 12


def is_part(name: str) -> bool:
    """Whether a finished part may have this name."""
    return PART_NAME.fullmatch(name) is not None


def is_endpoint(name: str) -> bool:
    """Whether the directory of an endpoint's parts may have this name."""
    return _ENDPOINT.fullmatch(name) is not None


def check_working_state(directory: int, path: Path) -> None:
    """Raise DamagedState naming the first thing in a working directory that stands in the place of one of ours.

    That is a link, a named pipe, a device, what belongs to another user or is open to others, and a journal that has a
    second name: SQLite would write through it. `path` names the open directory `directory`.
    """
    _check(directory, path, path.name, 0)


def remove_ours(directory: int, path: Path, *, last: str = JOURNAL) -> list[Path]:
    """Remove what is ours from a working directory, files whose names begin with `last` after all others.

    Returns the paths of what is not, and stays. Raises OSError.
    """
    return _remove(directory, path, path.name, last, 0)


def _check(directory: int, path: Path, name: str, depth: int) -> None:
    for entry in names_in(directory):
        found = look_at(entry, within=directory)
        is_directory = _is_our_directory(entry, name)
        if found is None or not (is_directory or _FILE.fullmatch(entry)):
            continue
        if is_directory and stat.S_ISREG(found.st_mode) and not _DIRECTORY.fullmatch(entry):
            continue  # a file of the user's, which only could be the name of an endpoint
        if not (stat.S_ISDIR if is_directory else stat.S_ISREG)(found.st_mode):
            raise _untrusted(path / entry, f"it is {kind_of(found)}")
        if reason := why_not_ours(found, within=directory):
            raise _untrusted(path / entry, f"it {reason}")
        if _DATABASE.fullmatch(entry) and found.st_nlink > 1:
            raise _untrusted(path / entry, "it is a hard link, so another file would change with it")
        # In the scratch directory others choose the names; it is emptied before it is used.
        if is_directory and entry != _SCRATCH and depth < _DEEPEST:
            # Whoever holds the output may be removing it.
            with contextlib.suppress(FileNotFoundError), opened_directory(entry, within=directory) as below:
                _check(below, path / entry, entry, depth + 1)


def _remove(directory: int, path: Path, name: str, last: str, depth: int) -> list[Path]:
    left: list[Path] = []
    for entry in sorted(names_in(directory), key=lambda entry: (entry.startswith(last), entry)):
        found = look_at(entry, within=directory)
        if found is None:
            continue
        if stat.S_ISDIR(found.st_mode):
            left += _remove_directory(directory, path / entry, name, last, depth)
        elif name == _SCRATCH or (stat.S_ISREG(found.st_mode) and _FILE.fullmatch(entry)):
            os.unlink(entry, dir_fd=directory)
        else:
            left.append(path / entry)
    return left


def _remove_directory(directory: int, path: Path, name: str, last: str, depth: int) -> list[Path]:
    if depth >= _DEEPEST or not _is_our_directory(path.name, name):
        return [path]
    with opened_directory(path.name, within=directory) as below:
        inside = _SCRATCH if name == _SCRATCH else path.name
        left = _remove(below, path, inside, last, depth + 1)
    if not left:
        os.rmdir(path.name, dir_fd=directory)
    return left


def _is_our_directory(entry: str, above: str) -> bool:
    """Whether a directory of this name, in a directory named `above`, is one that we make."""
    if above == _SCRATCH or entry == _SCRATCH or _DIRECTORY.fullmatch(entry):
        return True
    return _HOLDS_ENDPOINTS.fullmatch(above) is not None and _ENDPOINT.fullmatch(entry) is not None


def _untrusted(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"{path} cannot be used: {reason}.",
        kept="Nothing was changed.",
        next_step="Remove it if it is not yours; of your own files, take away the rights of others"
        " (chmod -R go= on the directory), or choose another --output.",
    )
