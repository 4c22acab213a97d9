"""The versions of a Delta table, read from its log once, from the oldest that is kept to the newest."""

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
class History:
    """The data files of all versions that are kept, oldest first, each once.

    `versions` is the number of versions whose log is kept. The history `is_cut` where it does not go back to the first
    version; it is whole from `complete_since` on, as far as the log tells when that was.
    """

    files: tuple[tuple[Path, int], ...]
    versions: int
    is_cut: bool
    complete_since: datetime | None


@dataclass(frozen=True, slots=True)
class Base:
    """A version to begin with, where the log of earlier ones was cleaned away.

    `files` are relative to the table, and `written_at` is when the newest of them was written.
    """

    number: int
    files: frozenset[str]
    written_at: datetime


@dataclass(frozen=True, slots=True)
class _Commit:
    number: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    committed_at: datetime | None


def read_history(path: Path, latest: int, base: Base | None) -> History:
    """Follow the log of the table in `path`.

    Args:
        path: The directory of the table.
        latest: The number of its current version.
        base: The version to begin with, None where the log begins with version 0. See `oldest_checkpoint`.

    Returns:
        The files in the order of the versions that added them, those that a vacuum removed left out.

    Raises:
        DamagedState: A commit is missing, unreadable, or names a file outside of the table.
    """
    start = -1 if base is None else base.number
    alive = set() if base is None else set(base.files)
    first_seen = dict.fromkeys(sorted(alive), start)
    lost = {name for name in alive if not (path / name).is_file()}
    times: dict[int, datetime | None] = {} if base is None else {start: base.written_at}
    # The oldest version from which on no file is missing.
    whole_from = start + 1 if lost else max(start, 0)
    for commit in _commits(path, start + 1, latest):
        times[commit.number] = commit.committed_at
        alive.difference_update(commit.removed)
        alive.update(commit.added)
        for name in commit.added:
            if name not in first_seen:
                first_seen[name] = commit.number
                if not (path / name).is_file():
                    lost.add(name)
        if lost & alive:
            whole_from = commit.number + 1
    known = [moment for number, moment in sorted(times.items()) if number >= whole_from and moment is not None]
    return History(
        tuple((path / name, number) for name, number in first_seen.items() if name not in lost),
        versions=latest - max(start, 0) + 1,
        is_cut=whole_from > 0,
        complete_since=known[0] if known else None,
    )


def oldest_checkpoint(path: Path) -> int | None:
    """The version to begin with where the log no longer begins with version 0; None where it does.

    Raises:
        DamagedState: There is neither.
    """
    names = [entry.name for entry in (path / LOG).iterdir()]
    commits = sorted(int(found[1]) for name in names if (found := _COMMIT.fullmatch(name)))
    if commits and commits[0] == 0:
        return None
    checkpoints = sorted(int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name)))
    usable = [number for number in checkpoints if not commits or number >= commits[0] - 1]
    if not usable:
        raise _damaged(path, "its log begins neither with the first version nor with a checkpoint")
    return usable[0]


def relative_path(path: str) -> str:
    """A path as a commit names it, relative to the table. Raises ValueError for one that leads elsewhere."""
    pure = PurePosixPath(unquote(path))
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in str(pure):
        raise ValueError
    return str(pure)


def _commits(path: Path, first: int, last: int) -> Iterator[_Commit]:
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


def _commit(number: int, actions: list[Any]) -> _Commit:
    added = tuple(relative_path(action["add"]["path"]) for action in actions if "add" in action)
    removed = tuple(relative_path(action["remove"]["path"]) for action in actions if "remove" in action)
    stamps = [action["commitInfo"].get("timestamp") for action in actions if "commitInfo" in action]
    moments = [stamp for stamp in stamps if isinstance(stamp, int)]
    try:
        moment = datetime.fromtimestamp(moments[0] / 1000, UTC) if moments else None
    except (OverflowError, OSError):
        moment = None
    return _Commit(number, added, removed, moment)


def _damaged(path: Path, reason: str) -> DamagedState:
    return DamagedState(
        f"The Delta table {path} cannot be read: {reason}.",
        kept="Nothing was changed.",
        next_step="The next full sync says what can be done.",
    )
