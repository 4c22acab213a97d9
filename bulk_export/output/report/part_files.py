"""What opens the files of a table for a report, wherever they are."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from bulk_export.core.files import open_regular

# Opens a Parquet file, or what stands for it: a file of Python or of Arrow. Raises OSError.
Opener = Callable[[], AbstractContextManager[Any]]


def opener(path: Path, size: int | None = None) -> Opener:
    """What opens a file on this machine; one of another size than `size` counts as unreadable."""
    return functools.partial(_opened, path, size)


def _opened(path: Path, size: int | None) -> IO[bytes]:
    file = os.fdopen(open_regular(path), "rb")
    if size is not None and os.fstat(file.fileno()).st_size != size:
        file.close()
        raise OSError(errno.EIO, "another size than was written")
    return file
