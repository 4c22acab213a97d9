"""DuckDB over Parquet files of ours, and the SQL for names, texts and files.

A connection reads only the files that it is given, and installs no extensions.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.core.compat.directories import open_directory
from bulk_export.errors import UsageError

if TYPE_CHECKING:
    import duckdb

# Descriptors of directories whose paths are not UTF-8, as long as DuckDB may read there.
_DESCRIPTORS: dict[Path, int] = {}
_DESCRIPTORS_LOCK = threading.Lock()
_WILDCARD = re.compile(r"([*?\[])")


def connect(extra: str, *, spill_to: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open a database in memory, with UTC as its time zone.

    Args:
        extra: The extra of this package that installs DuckDB, for the message if it is missing.
        spill_to: The directory for what does not fit in memory; without one, that is an error.

    Raises:
        UsageError: DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError:
        raise missing_extra(extra) from None
    connection = duckdb.connect(
        config={
            "temp_directory": "" if spill_to is None else path_text(spill_to),
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def failures() -> type[Exception]:
    """The exception that DuckDB raises. Its messages may quote values of records."""
    import duckdb

    return duckdb.Error


def missing_extra(extra: str) -> UsageError:
    """The error for an extra of this package that is not installed."""
    return UsageError(
        f"The libraries for this, the extra {extra!r}, are not installed.",
        next_step=f"Install them: pip install 'bulk-export[{extra}]'.",
    )


def read_parquet(files: Sequence[Path]) -> str:
    """SQL for the rows of some files, whose columns are matched by name."""
    return f"read_parquet({quoted_files(files)}, union_by_name = true, hive_partitioning = false)"


def quoted_files(files: Sequence[Path]) -> str:
    """Paths as a list in SQL, escaped against globbing."""
    return "[" + ", ".join(text(_WILDCARD.sub(r"[\1]", path_text(file))) for file in files) + "]"


def text(value: str) -> str:
    """A string literal in SQL.

    >>> text("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A column name in SQL.

    >>> name('a"b')
    '"a""b"'
    """
    return '"' + column.replace('"', '""') + '"'


def path_text(path: Path) -> str:
    """An absolute path in UTF-8, as DuckDB needs it.

    If the name of a directory is not UTF-8, the path goes through a descriptor of it. Raises UsageError if the system
    has no such paths.
    """
    absolute = path.absolute()
    with contextlib.suppress(UnicodeEncodeError):
        str(absolute).encode()
        return str(absolute)
    by_descriptor = Path(f"/proc/self/fd/{_descriptor_of(absolute.parent)}")
    if not by_descriptor.is_dir():
        raise UsageError(
            f"{path} is not UTF-8, and DuckDB takes no other names.", next_step="Choose another name for the directory."
        )
    return str(by_descriptor / absolute.name)


def _descriptor_of(directory: Path) -> int:
    """A descriptor of a directory, which stays open."""
    with _DESCRIPTORS_LOCK:
        # A process that runs for months works in ever new directories, and removes them.
        for removed in [known for known, held in _DESCRIPTORS.items() if not os.fstat(held).st_nlink]:
            os.close(_DESCRIPTORS.pop(removed))
        held = _DESCRIPTORS.get(directory)
        if held is not None:
            if os.path.samestat(os.fstat(held), directory.stat()):
                return held
            os.close(held)
        _DESCRIPTORS[directory] = open_directory(directory, follows=True)
        return _DESCRIPTORS[directory]
