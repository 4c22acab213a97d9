"""DuckDB over Parquet files of ours: it reads what it is shown, installs nothing, and takes no name for a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.errors import UsageError

if TYPE_CHECKING:
    import duckdb

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
            "temp_directory": "" if spill_to is None else str(spill_to),
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
    return "[" + ", ".join(text(_WILDCARD.sub(r"[\1]", str(file.absolute()))) for file in files) + "]"


def text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A name in SQL."""
    return '"' + column.replace('"', '""') + '"'
