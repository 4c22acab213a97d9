"""Tells whether a library failed because the disk is full, whatever it makes of that."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from bulk_export.errors import LocalFailure

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# As the C library and Rust write them; nothing else of the texts is looked at or shown, since they may quote values.
_TEXTS = ("no space left", "disk quota exceeded", "file too large", "storagefull", "filetoolarge", "quotaexceeded")
_NUMBERS = tuple(f"os error {number}" for number in _FULL)
_LEAST_FREE = 1 << 20


def out_of_room(error: BaseException, place: Path) -> LocalFailure | None:
    """The failure to tell of where `error` came of a full disk, or of a limit on the size of files; None otherwise."""
    text = str(error).lower()
    said = any(mark in text for mark in (*_TEXTS, *_NUMBERS))
    if not said and getattr(error, "errno", None) not in _FULL and not _is_full(place):
        return None
    return LocalFailure(
        f"There is no space left to write {place}.",
        kept="Every page stored so far is kept, and the tables are as they were before this poll.",
        next_step="Make room, then run the same command again.",
    )


def _is_full(place: Path) -> bool:
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free < _LEAST_FREE
    except OSError:
        return False
