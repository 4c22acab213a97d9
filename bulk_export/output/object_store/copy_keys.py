"""Where the objects of a copy are, relative to its address: as in a directory.

ENDPOINT/part-00000-….parquet                           data files, written once
ENDPOINT/_delta_log/00000000000000000007.json           commits, written once and in order
ENDPOINT/_delta_log/00000000000000000100.checkpoint.parquet
ENDPOINT/_delta_log/_last_checkpoint                    names the last checkpoint
sync.json, sync-log.jsonl                               the state and the log of the polls
.bulk-export/lease.json                                 who works there
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterable
from pathlib import Path

from bulk_export.core.files import local_failures
from bulk_export.output.delta_files import LOG, current_files
from bulk_export.output.file_names import is_endpoint

_KEY = re.compile(
    rf"([^/]+)/(?:(?P<data>[A-Za-z0-9][A-Za-z0-9._-]*\.parquet)|{LOG}/(?:(?P<commit>[0-9]{{20}}\.json)"
    r"|(?P<checkpoint>[0-9]{20}\.checkpoint[A-Za-z0-9._-]*\.parquet)|(?P<pointer>_last_checkpoint)))",
    re.ASCII,
)


class Kind(enum.IntEnum):
    """What a file of a table is, in the order in which files are written to a store."""

    DATA = 0
    COMMIT = 1
    CHECKPOINT = 2
    POINTER = 3


def kind_of_key(key: str) -> Kind | None:
    """What the object of a key is in a table of a copy; None for any other object."""
    match = _KEY.fullmatch(key)
    if match is None or not is_endpoint(match[1]):
        return None
    return Kind[(match.lastgroup or "").upper()]


def next_commit(table: str, keys: Iterable[str]) -> str:
    """The key of the first commit of a table after those among `keys`."""
    log = f"{table}/{LOG}/"
    commits = [key for key in keys if key.startswith(log) and kind_of_key(key) is Kind.COMMIT]
    latest = max((int(key.removeprefix(log).removesuffix(".json")) for key in commits), default=-1)
    return f"{log}{latest + 1:020}.json"


def needed_keys(directory: Path, table: str) -> set[str]:
    """The data files of the current version of a table; none if there is no table. Raises DamagedState."""
    path = directory / table
    return {f"{table}/{name}" for name in current_files(path)} if (path / LOG).is_dir() else set()


def local_files(directory: Path) -> dict[str, int]:
    """The files of all tables of a copy, each with its size, in the order in which they are to be written.

    Raises:
        LocalFailure: The directory cannot be read.
    """
    found: list[tuple[Kind, str, int]] = []
    with local_failures(f"Reading {directory}"):
        for table in os.scandir(directory):
            if not table.is_dir(follow_symlinks=False) or not (Path(table.path) / LOG).is_dir():
                continue
            for folder in (table.name, f"{table.name}/{LOG}"):
                for file in os.scandir(directory / folder):
                    key = f"{folder}/{file.name}"
                    kind = kind_of_key(key)
                    if kind is not None and file.is_file(follow_symlinks=False):
                        found.append((kind, key, file.stat(follow_symlinks=False).st_size))
    return {key: size for _, key, size in sorted(found)}
