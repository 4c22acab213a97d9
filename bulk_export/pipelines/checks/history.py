"""The history of a Delta table: all data files of its versions, from reading its log once, oldest version first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from bulk_export.errors import DamagedState
from bulk_export.output.delta_files import LOG

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\b.*\.parquet")
_LONGEST_COMMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TableHistory:
    """The data files of all versions that are kept.

    Attributes:
        files: Each file once, with the version that added it, in the order of the versions.
        versions: The number of versions whose log is kept.
        is_truncated: Whether the history does not go back to the first version.
        complete_since: When the oldest version was written from which on no file is missing, if the log says so.
    """

    files: tuple[tuple[Path, int], ...]
    versions: int
    is_truncated: bool
    complete_since: datetime | None


@dataclass(frozen=True, slots=True)
class StartVersion:
    """The version at a checkpoint, with which a log begins whose earlier commits were cleaned away.

    Attributes:
        number: The version.
        files: Its data files, relative to the table.
        written_at: When the newest of them was written.
    """

    number: int
    files: frozenset[str]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class _LogCommit:
    number: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    committed_at: datetime | None


def read_history(path: Path, latest: int, start: StartVersion | None) -> TableHistory:
    """Follow the log of a table from version to version.

    Args:
        path: The directory of the table.
        latest: The number of its current version.
        start: The version to begin with; None if the log begins with version 0. See `oldest_checkpoint`.

    Returns:
        The files of all versions, without those that a vacuum removed.

    Raises:
        DamagedState: A commit is missing, unreadable, or names a file outside of the table.
    """
    first = -1 if start is None else start.number
    alive = set() if start is None else set(start.files)
    added_by = dict.fromkeys(sorted(alive), first)
    lost = {name for name in alive if not (path / name).is_file()}
    times: dict[int, datetime | None] = {} if start is None else {first: start.written_at}
    # The oldest version from which on no file is missing.
    complete_from = first + 1 if lost else max(first, 0)
    for commit in _commits(path, first + 1, latest):
        times[commit.number] = commit.committed_at
        alive.difference_update(commit.removed)
        alive.update(commit.added)
        for name in commit.added:
            if name not in added_by:
                added_by[name] = commit.number
                if not (path / name).is_file():
                    lost.add(name)
        if lost & alive:
            complete_from = commit.number + 1
    known = [moment for number, moment in sorted(times.items()) if number >= complete_from and moment is not None]
    return TableHistory(
        tuple((path / name, number) for name, number in added_by.items() if name not in lost),
        versions=latest - max(first, 0) + 1,
        is_truncated=complete_from > 0,
        complete_since=known[0] if known else None,
    )


def oldest_checkpoint(path: Path) -> int | None:
    """Return the oldest version that a checkpoint makes readable; None if the log begins with version 0.

    Raises:
        DamagedState: The log has neither.
    """
    names = [entry.name for entry in (path / LOG).iterdir()]
    commits = sorted(int(match[1]) for name in names if (match := _COMMIT.fullmatch(name)))
    if commits and commits[0] == 0:
        return None
    checkpoints = sorted(int(match[1]) for name in names if (match := _CHECKPOINT.fullmatch(name)))
    usable = [number for number in checkpoints if not commits or number >= commits[0] - 1]
    if not usable:
        raise _damaged(path, "its log begins neither with the first version nor with a checkpoint")
    return usable[0]


def relative_path(path: str) -> str:
    """A path as a commit names it, relative to the table. Raises ValueError if it leads out of the table."""
    pure = PurePosixPath(unquote(path))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in str(pure):
        raise ValueError
    return str(pure)


def _commits(path: Path, first: int, last: int) -> Iterator[_LogCommit]:
    for number in range(first, last + 1):
        file = path / LOG / f"{number:020}.json"
        try:
            if file.stat().st_size > _LONGEST_COMMIT:
                raise _damaged(path, f"{file.name} is far too large")
            yield _commit(number, [json.loads(line) for line in file.read_bytes().splitlines() if line.strip()])
        except FileNotFoundError:
            raise _damaged(path, f"{file.name} of its log is missing") from None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise _damaged(path, f"{file.name} of its log cannot be read") from None


def _commit(number: int, actions: list[Any]) -> _LogCommit:
    added = tuple(relative_path(action["add"]["path"]) for action in actions if "add" in action)
    removed = tuple(relative_path(action["remove"]["path"]) for action in actions if "remove" in action)
    stamps = [action["commitInfo"].get("timestamp") for action in actions if "commitInfo" in action]
    moments = [stamp for stamp in stamps if isinstance(stamp, int)]
    try:
        moment = datetime.fromtimestamp(moments[0] / 1000, UTC) if moments else None
    except (OverflowError, OSError):
        moment = None
    return _LogCommit(number, added, removed, moment)


def _damaged(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"The Delta table {path} cannot be read: {reason}.",
        kept="Nothing was changed.",
        next_step="The next full sync says what can be done.",
    )
