"""Turns errors of DuckDB, delta-rs and the disk into this package's errors.

The libraries' messages may quote values of records. They are searched for a few fixed texts, and never shown.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.output import duckdb_sql
from bulk_export.output.formats.reading import first_unreadable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# The spellings of the C library and of Rust.
_TEXTS = ("no space left", "disk quota exceeded", "file too large", "storagefull", "filetoolarge", "quotaexceeded")
_NUMBERS = tuple(f"os error {number}" for number in _FULL)
_LEAST_FREE = 1 << 20


def disk_full(error: BaseException, path: Path) -> LocalFailure | None:
    """Return the failure to raise if a full disk, or a limit on file sizes, caused `error`; None otherwise.

    DuckDB and delta-rs report a full disk in many ways, so a nearly full disk at `path` counts, too.
    """
    text = str(error).lower()
    is_stated = any(mark in text for mark in (*_TEXTS, *_NUMBERS))
    if not is_stated and getattr(error, "errno", None) not in _FULL and not _is_nearly_full(path):
        return None
    return LocalFailure(
        f"There is no space left to write {path}.",
        kept="Every page stored so far is kept, and the tables are as they were before this poll.",
        next_step="Make room, then run the same command again.",
    )


@contextmanager
def comparison_errors(scratch: Path, current: Sequence[Path]) -> Iterator[None]:
    """Raise LocalFailure or DamagedState for errors of reading and comparing tables in DuckDB.

    Args:
        scratch: Where DuckDB writes.
        current: The files of the table. If one of them cannot be read, the error names it.
    """
    try:
        yield
    except (duckdb_sql.failures(), ValueError, OSError) as error:
        if (failure := disk_full(error, scratch)) is not None:
            raise failure from None
        if (file := first_unreadable(current)) is not None:
            raise DamagedState(
                f"{file} cannot be read.",
                kept="Nothing was changed.",
                next_step=f"Restore it from a backup, or remove {file.parent}: the next sync fetches all of it.",
            ) from None
        raise DamagedState(
            f"The tables of the copy cannot be compared ({type(error).__name__}).",
            kept="Nothing was changed.",
            next_step="Restore them from a backup, or remove the directory of the damaged one: the next sync"
            " fetches all of it.",
        ) from None


def _is_nearly_full(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free < _LEAST_FREE
    except OSError:
        return False
