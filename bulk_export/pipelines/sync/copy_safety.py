"""Whether what stands in the places of a copy's tables, state and log may be what polls made there.

Tables are read and written by libraries that go by names, and follow links. So everything at and below the places of
a copy is looked at before a poll uses it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from bulk_export.core.directories import kind_of, look_at, names_in, opened_directory, why_not_ours
from bulk_export.core.files import local_failures
from bulk_export.errors import DamagedState
from bulk_export.output.delta_files import LOG as DELTA_LOG
from bulk_export.output.file_names import SYNC_STATE
from bulk_export.pipelines.sync.log import LOG

# A Delta table has its log in one directory, and that may have one more.
_DEEPEST = 4


def holds_copy(output: Path) -> bool:
    """Whether there is a state of a copy in a directory, or anything in its place."""
    return os.path.lexists(output / SYNC_STATE)


def refuse_unsafe(output: Path, names: Sequence[str]) -> None:
    """Raise DamagedState naming the first thing in a copy that no poll made: a link, a pipe, a device, another user's.

    The same goes for what others can write to. `names` are the endpoints whose tables are to be used. A file of another
    kind in a table's directory is the user's own, and stays.
    """
    with local_failures(f"Looking at {output}"), opened_directory(output) as root:
        for name in (SYNC_STATE, LOG):
            if (found := look_at(name, within=root)) is not None:
                _refuse(found, root, output / name, is_directory=False)
        for name in names:
            if (found := look_at(name, within=root)) is not None:
                _refuse(found, root, output / name, is_directory=True)
                with opened_directory(name, within=root) as table:
                    _check(table, output / name, 0)


def _check(directory: int, path: Path, depth: int) -> None:
    for name in names_in(directory):
        found = look_at(name, within=directory)
        if found is None:
            continue
        is_directory = stat.S_ISDIR(found.st_mode) or name == DELTA_LOG
        _refuse(found, directory, path / name, is_directory=is_directory)
        if is_directory and depth < _DEEPEST:
            with opened_directory(name, within=directory) as below:
                _check(below, path / name, depth + 1)


def _refuse(found: os.stat_result, within: int, path: Path, *, is_directory: bool) -> None:
    if (stat.S_ISDIR if is_directory else stat.S_ISREG)(found.st_mode):
        reason = why_not_ours(found, within=within, may_be_read=True)
    else:
        reason = f"is {kind_of(found)}"
    if reason:
        raise DamagedState(
            f"{path} cannot be used: it {reason}.",
            kept="Nothing was changed.",
            next_step="Remove it if it is not yours, and restore what belongs there from a backup; of your own files,"
            " take away the right of others to write (chmod -R go-w on the directory).",
        )
