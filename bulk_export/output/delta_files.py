"""Delta tables as directories of files: which paths the library takes, and where the files of a version are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bulk_export.errors import UsageError

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
# It panics at brackets, and takes what follows a percent sign for an escape.
_UNFIT = set("[]%")


def check_path(path: Path) -> str:
    """The place of a table as the library wants it. Raises UsageError for a path that it would not take as it is."""
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path} is not UTF-8, and Delta tables take no other names.",
            next_step="Choose another name for the directory, or --format parquet.",
        ) from None
    if found := sorted(_UNFIT & set(absolute)):
        raise UsageError(
            f"{path} has {' and '.join(found)} in its name, which Delta tables cannot have.",
            next_step="Choose a directory without them.",
        )
    return absolute


def files_of(table: DeltaTable, path: Path) -> tuple[Path, ...]:
    """The data files of a table that is not partitioned: they lie in its directory, whatever escapes stand in URIs."""
    return tuple(path / Path(uri).name for uri in table.file_uris())


def data_files(table: DeltaTable, path: Path) -> Iterator[tuple[Path, int]]:
    """The data files of a table that is not partitioned, each with the size that its log tells."""
    added = table.get_add_actions(flatten=True)
    for file, size in zip(added["path"].to_pylist(), added["size_bytes"].to_pylist(), strict=True):
        yield path / Path(str(file)).name, int(size)


def unused_files(path: Path, used: set[Path]) -> list[Path]:
    """Files like those of data in the directory of a table that no version of it names.

    None where the log does not go back to the first version: then nobody knows.
    """
    strange = {file for file in path.glob("part-*.parquet") if file.is_file() and not file.is_symlink()} - used
    if not strange:
        return []
    commits = sorted((path / LOG).glob("*.json")) if (path / LOG).is_dir() else []
    commits = [commit for commit in commits if commit.stem.isdigit()]
    if [int(commit.stem) for commit in commits] != list(range(len(commits))):
        return []
    for commit in commits:
        strange -= {path / name for name in _named_in(commit)}
        if not strange:
            break
    return sorted(strange)


def _named_in(commit: Path) -> Iterator[str]:
    with commit.open("rb") as lines:
        for line in lines:
            action = json.loads(line)
            for kind in ("add", "remove"):
                if kind in action:
                    yield Path(unquote(action[kind]["path"])).name
