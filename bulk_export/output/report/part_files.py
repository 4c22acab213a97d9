"""What opens the files of a table for a report, wherever they are."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

from bulk_export.core.files import open_regular

# Opens a Parquet file, or what stands for it: a file of Python or of Arrow. Raises OSError.
Opener = Callable[[], AbstractContextManager[Any]]


def opener(path: Path) -> Opener:
    """What opens a file on this machine."""
    return functools.partial(_opened, path)


def _opened(path: Path) -> IO[bytes]:
    return os.fdopen(open_regular(path), "rb")
