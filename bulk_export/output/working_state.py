"""Which entries of a working directory are ours: checked before they are used, and all that is ever removed.

An entry is ours by its name and position. Anything else there belongs to the user and stays.
"""

from __future__ import annotations

import contextlib
import re
import stat
from pathlib import Path

from bulk_export.core.compat.directories import remove_directory, remove_file
from bulk_export.core.directories import entry_status, kind_of, names_in, opened_directory, ownership_problem
from bulk_export.errors import DamagedState
from bulk_export.output.file_names import (
    ARCHIVE,
    ARGUMENTS,
    ENDPOINT_NAME,
    JOURNAL,
    MANIFEST,
    PART_NAME,
    PARTIAL,
    POINTER,
    REVISION_NAME,
    RUN_LOG,
    SEGMENT,
    STAGING,
    WORKING_DIRECTORY,
)

_SQLITE = r"(?:-wal|-shm|-journal)?"
_WRITTEN_IN_PLACE = re.compile(rf"{re.escape(JOURNAL)}{_SQLITE}|{re.escape(SEGMENT)}", re.ASCII)
_FILE = re.compile(
    rf"{_WRITTEN_IN_PLACE.pattern}"
    rf"|{re.escape(ARCHIVE)}(?:{re.escape(PARTIAL)}{_SQLITE})?"
    rf"|{PART_NAME.pattern}(?:{re.escape(PARTIAL)})?"
    rf"|{re.escape(MANIFEST)}|{re.escape(POINTER)}|{re.escape(ARGUMENTS)}|{re.escape(RUN_LOG)}"
    r"|[a-z]{1,20}\.lock|\.[a-z]{1,20}\.(?:jsonl?|html)\.[0-9a-f]{16}|(?:probe|copy)\.[0-9a-f]{16}",
    re.ASCII,
)
_NESTED = r"[0-9]{1,9}|again-[a-z0-9_-]{1,128}"
# Staged parts by endpoint and revision; and the exports of a sync: one directory for each poll, with numbered exports
# in it, and others for a second look at an endpoint.
_DIRECTORY = re.compile(
    rf"{STAGING}|{REVISION_NAME.pattern}|full|changes|[0-9a-f]{{32}}|{_NESTED}|{re.escape(WORKING_DIRECTORY)}",
    re.ASCII,
)
_HOLDS_ENDPOINTS = re.compile(rf"{STAGING}|{_NESTED}", re.ASCII)
# Everything in it is written by us and by the database that works there.
_SCRATCH = "merge"
_MAX_DEPTH = 12


def check_working_state(directory: int, path: Path) -> None:
    """Check that every entry with a name of ours is what we would have made.

    Args:
        directory: The open working directory.
        path: Its path, for the message.

    Raises:
        DamagedState: An entry is a link, a named pipe or a device, belongs to another user, is open to others, or is a
            file of the journal with a second name (it would be written through it). The message names the first.
        OSError: A directory cannot be read.
    """
    _check(directory, path, path.name, 0)


def remove_ours(directory: int, path: Path, *, last: str = JOURNAL) -> list[Path]:
    """Remove what is ours from an open working directory.

    Args:
        directory: The open directory.
        path: Its path.
        last: Files whose names begin with this are removed after all others, except for the bodies of pages: a journal
            whose bodies are gone would be damaged, while bodies without a journal are nothing.

    Returns:
        The paths of what is not ours, and stays.

    Raises:
        OSError: Something cannot be removed.
    """
    return _remove(directory, path, path.name, last, 0)


def remove_tree(path: Path) -> list[Path]:
    """Remove what is ours from a directory, following no links, and the directory itself if it is empty then.

    Returns the paths of what stays. A directory that does not exist is empty. Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        try:
            above = stack.enter_context(opened_directory(path.parent))
            directory = stack.enter_context(opened_directory(path.name, within=above))
        except FileNotFoundError:
            return []
        kept = remove_ours(directory, path)
        if not kept:
            remove_directory(path.name, within=above)
        return kept


def _check(directory: int, path: Path, name: str, depth: int) -> None:
    for entry in names_in(directory):
        found = entry_status(entry, within=directory)
        is_directory = _is_our_directory(entry, name)
        if found is None or not (is_directory or _FILE.fullmatch(entry)):
            continue
        if is_directory and stat.S_ISREG(found.st_mode) and not _DIRECTORY.fullmatch(entry):
            continue  # a file of the user's, whose name an endpoint could have
        if not (stat.S_ISDIR if is_directory else stat.S_ISREG)(found.st_mode):
            raise _untrusted(path / entry, f"it is {kind_of(found)}")
        if reason := ownership_problem(found, within=directory):
            raise _untrusted(path / entry, f"it {reason}")
        if _WRITTEN_IN_PLACE.fullmatch(entry) and found.st_nlink > 1:
            raise _untrusted(path / entry, "it is a hard link, so another file would change with it")
        # The database chooses the names in the scratch directory, which is emptied before it is used.
        if is_directory and entry != _SCRATCH and depth < _MAX_DEPTH:
            # The process that holds the output may be removing it.
            with contextlib.suppress(FileNotFoundError), opened_directory(entry, within=directory) as below:
                _check(below, path / entry, entry, depth + 1)


def _remove(directory: int, path: Path, name: str, last: str, depth: int) -> list[Path]:
    kept: list[Path] = []
    for entry in sorted(names_in(directory), key=lambda entry: (entry == SEGMENT, entry.startswith(last), entry)):
        found = entry_status(entry, within=directory)
        if found is None:
            continue
        if stat.S_ISDIR(found.st_mode):
            kept += _remove_directory(directory, path / entry, name, last, depth)
        elif name == _SCRATCH or (stat.S_ISREG(found.st_mode) and _FILE.fullmatch(entry)):
            remove_file(entry, within=directory)
        else:
            kept.append(path / entry)
    return kept


def _remove_directory(directory: int, path: Path, name: str, last: str, depth: int) -> list[Path]:
    if depth >= _MAX_DEPTH or not _is_our_directory(path.name, name):
        return [path]
    with opened_directory(path.name, within=directory) as below:
        inside = _SCRATCH if name == _SCRATCH else path.name
        kept = _remove(below, path, inside, last, depth + 1)
    if not kept:
        remove_directory(path.name, within=directory)
    return kept


def _is_our_directory(entry: str, above: str) -> bool:
    """Whether a directory of this name, in a directory named `above`, is one that we make."""
    if above == _SCRATCH or entry == _SCRATCH or _DIRECTORY.fullmatch(entry):
        return True
    return _HOLDS_ENDPOINTS.fullmatch(above) is not None and ENDPOINT_NAME.fullmatch(entry) is not None


def _untrusted(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"{path} cannot be used: {reason}.",
        kept="Nothing was changed.",
        next_step="Remove it if it is not yours; of your own files, take away the rights of others"
        " (chmod -R go= on the directory), or choose another --output.",
    )
