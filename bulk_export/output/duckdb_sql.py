"""DuckDB over Parquet files of ours: it reads what it is shown, installs nothing, and takes no name for a pattern."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.errors import UsageError

if TYPE_CHECKING:
    import duckdb

_DESCRIPTORS: dict[Path, int] = {}
_HOLDING = threading.Lock()
_WILDCARD = re.compile(r"([*?\[])")


def connect(extra: str, *, spill_to: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A database in memory whose clock shows UTC, which may outgrow memory only into `spill_to`.

    `extra` is the one that installs DuckDB. Raises UsageError where it is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise missing_extra(extra) from None
    connection = duckdb.connect(
        config={
            "temp_directory": "" if spill_to is None else place(spill_to),
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def failures() -> type[Exception]:
    """What the database raises. Its texts may quote values."""
    import duckdb

    return duckdb.Error


def missing_extra(extra: str) -> UsageError:
    """That an extra of this package is not installed."""
    return UsageError(
        f"The libraries for this, the extra {extra!r}, are not installed.",
        next_step=f"Install them: pip install 'bulk-export[{extra}]'.",
    )


def read_parquet(files: Sequence[Path]) -> str:
    """The SQL for the rows of some files, whose columns go by name."""
    return f"read_parquet({quoted_files(files)}, union_by_name = true, hive_partitioning = false)"


def quoted_files(files: Sequence[Path]) -> str:
    """Paths as a list in SQL, in which no name is taken for a pattern."""
    return "[" + ", ".join(text(_WILDCARD.sub(r"[\1]", place(file))) for file in files) + "]"


def place(path: Path) -> str:
    """An absolute path as the database takes it: where its directory is not UTF-8, by way of a descriptor.

    Raises UsageError where the system has no such way.
    """
    absolute = path.absolute()
    with contextlib.suppress(UnicodeEncodeError):
        str(absolute).encode()
        return str(absolute)
    by_descriptor = Path(f"/proc/self/fd/{_held(absolute.parent)}")
    if not by_descriptor.is_dir():
        raise UsageError(
            f"{path} is not UTF-8, and DuckDB takes no other names.", next_step="Choose another name for the directory."
        )
    return str(by_descriptor / absolute.name)


def _held(directory: Path) -> int:
    """A descriptor of a directory, which stays open for as long as the database may read there."""
    with _HOLDING:
        # A process that goes on for months works in ever new directories, and removes them.
        for gone in [known for known, held in _DESCRIPTORS.items() if not os.fstat(held).st_nlink]:
            os.close(_DESCRIPTORS.pop(gone))
        held = _DESCRIPTORS.get(directory)
        if held is not None:
            if os.path.samestat(os.fstat(held), directory.stat()):
                return held
            os.close(held)
        _DESCRIPTORS[directory] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return _DESCRIPTORS[directory]


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A name in SQL."""
    return '"' + column.replace('"', '""') + '"'
