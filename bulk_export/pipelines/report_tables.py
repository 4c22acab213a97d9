"""What a report reads of the tables of a copy, and which of them are gone or damaged.

A data file of a Delta table counts as damaged if its size is not the one in the table's log, or if its footer cannot be
read. The log itself is read as a whole; a table without one has no data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bulk_export.core.files import local_failures
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.delta_files import current_sizes
from bulk_export.output.report.part_files import Opener, opener
from bulk_export.pipelines.sync.tables.parquet_table import FILE

_GONE = "its table is gone"


@dataclass(frozen=True, slots=True)
class CopyTables:
    """The tables of a copy.

    Attributes:
        files: What opens the data files of each table, by list.
        lost: What is wrong with tables of which nothing can be read, by list.
        remark: Why no table could be looked at; empty otherwise.
    """

    files: Mapping[str, list[Opener]]
    lost: Mapping[str, str]
    remark: str = ""


def copy_tables(directory: Path, names: Iterable[str], *, is_delta: bool) -> CopyTables:
    """Find the data files of the tables of a copy.

    Args:
        directory: The copy.
        names: The lists that were polled before, so each has a table.
        is_delta: Whether they are Delta tables, and not Parquet files.

    Raises:
        LocalFailure: The directory cannot be read.
    """
    files: dict[str, list[Opener]] = {}
    lost: dict[str, str] = {}
    for name in names:
        table = directory / name
        with local_failures(f"Looking at {table}"):
            is_there = (table if is_delta else table / FILE).exists()
        if not is_there:
            lost[name] = _GONE
        elif not is_delta:
            files[name] = [opener(table / FILE)]
        else:
            try:
                files[name] = _delta_files(table)
            except DamagedState:
                lost[name] = "the log of its table is gone or damaged"
            except UsageError as error:
                return CopyTables({}, lost, f"Nothing is known of the columns: {error.what}")
    return CopyTables(files, lost)


def _delta_files(table: Path) -> list[Opener]:
    try:
        sizes = current_sizes(table)
    except ImportError:
        raise UsageError(
            "the extra `delta` is not installed.", next_step="Install it: pip install 'bulk-export[delta]'."
        ) from None
    return [opener(path, size) for path, size in sorted(sizes.items())]
