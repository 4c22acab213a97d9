"""Delta tables as directories: which paths the library accepts, and which files belong to a table."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bulk_export.errors import DamagedState, UsageError

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
# The library panics at brackets, and takes a percent sign for an escape.
_UNUSABLE = set("[]%")


def check_path(path: Path) -> str:
    """Return the absolute path of a table as text. Raises UsageError for a path that the library would change."""
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path} is not UTF-8, and Delta tables take no other names.",
            next_step="Choose another name for the directory, or --format parquet.",
        ) from None
    if unusable := sorted(_UNUSABLE & set(absolute)):
        raise UsageError(
            f"{path} has {' and '.join(unusable)} in its name, which Delta tables cannot have.",
            next_step="Choose a directory without them.",
        )
    return absolute


def files_of(table: DeltaTable, path: Path) -> tuple[Path, ...]:
    """The data files of a table without partitions. They are in its directory, however their URIs are escaped."""
    return tuple(path / Path(uri).name for uri in table.file_uris())


def current_files(path: Path) -> set[str]:
    """The names of the data files of the current version of a table.

    Raises:
        DamagedState: Its log cannot be read.
        UsageError: The library cannot take its path.
    """
    from deltalake import DeltaTable  # an extra

    with _readable(path):
        return {file.name for file in files_of(DeltaTable(check_path(path)), path)}


def current_sizes(path: Path) -> Mapping[Path, int]:
    """The data files of the current version of a table, each with its size in bytes according to the log.

    Raises:
        DamagedState: Its log cannot be read.
        UsageError: The library cannot take its path.
    """
    from deltalake import DeltaTable  # an extra

    with _readable(path):
        return dict(data_files(DeltaTable(check_path(path)), path))


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise DamagedState for a table that the library cannot read."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DeltaError as error:
        raise DamagedState(
            f"The Delta table {path} cannot be read ({type(error).__name__}).",
            kept="Nothing was changed.",
            next_step=f"Restore it from a backup, or remove {path}.",
        ) from None


def data_files(table: DeltaTable, path: Path) -> Iterator[tuple[Path, int]]:
    """The data files of a table without partitions, each with its size in bytes according to the log."""
    added = table.get_add_actions(flatten=True)
    for file, size in zip(added["path"].to_pylist(), added["size_bytes"].to_pylist(), strict=True):
        yield path / Path(str(file)).name, int(size)


def unused_files(path: Path, used: set[Path]) -> list[Path]:
    """Files in the directory of a table that look like data, and that no version of the table names.

    `used` are the files of the current version. Returns nothing if the log does not go back to the first version, since
    an older one may name them.
    """
    unknown = {file for file in path.glob("part-*.parquet") if file.is_file() and not file.is_symlink()} - used
    if not unknown:
        return []
    commits = sorted((path / LOG).glob("*.json")) if (path / LOG).is_dir() else []
    commits = [commit for commit in commits if commit.stem.isdigit()]
    if [int(commit.stem) for commit in commits] != list(range(len(commits))):
        return []
    for commit in commits:
        unknown -= {path / name for name in _files_in(commit)}
        if not unknown:
            break
    return sorted(unknown)


def _files_in(commit: Path) -> Iterator[str]:
    with commit.open("rb") as lines:
        for line in lines:
            action = json.loads(line)
            for kind in ("add", "remove"):
                if kind in action:
                    yield Path(unquote(action[kind]["path"])).name
