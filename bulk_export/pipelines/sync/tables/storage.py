"""The tables of a copy on disk: opening one in its format, scratch space, and upkeep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bulk_export.core.files import local_failures, make_private_directory
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.output.formats.reading import schema_of
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.tables.copy_table import CopyTable
from bulk_export.pipelines.sync.tables.parquet_table import ParquetCopyTable
from bulk_export.pipelines.sync.tables.schema import ColumnPath, merge_key

# The directory below `.bulk-export/` that exists while tables are written. Left behind, it shows that a poll was
# killed.
SCRATCH = "merge"


def open_table(options: SyncOptions, name: str) -> CopyTable:
    """Open the table of an endpoint, which need not exist yet.

    Raises:
        DamagedState: The table cannot be read.
        UsageError: The libraries for Delta tables are not installed.
    """
    path = options.output / name
    if options.format == "parquet":
        return ParquetCopyTable(path, options.output / WORKING_DIRECTORY / SCRATCH)
    from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable  # its library is an extra

    return DeltaCopyTable(path)


def row_key(options: SyncOptions, name: str, table: CopyTable, fetched: Sequence[Path]) -> tuple[ColumnPath, ...]:
    """Return the columns that identify a row of an endpoint's table, or of the fetched records if the table is new."""
    endpoint = next(endpoint for endpoint in options.full.endpoints if endpoint.name == name)
    return merge_key(endpoint, table.schema or schema_of(fetched[0]))


@contextmanager
def scratch_directory(options: SyncOptions) -> Iterator[Path]:
    """Make an empty scratch directory, and remove it unless the block fails."""
    scratch = options.output / WORKING_DIRECTORY / SCRATCH
    with local_failures(f"Making {scratch}"):
        remove_tree(scratch)
        make_private_directory(scratch)
    yield scratch
    with local_failures(f"Removing {scratch}"):
        remove_tree(scratch)


def maintain_tables(options: SyncOptions, names: Sequence[str]) -> None:
    """Compact Delta tables if asked for or needed, and remove old versions if asked for."""
    if options.format != "delta":
        return
    from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable

    for name in names:
        table = DeltaCopyTable(options.output / name)
        compacts = options.compact or table.is_scattered
        if not compacts and options.vacuum is None:
            continue
        with scratch_directory(options):
            if compacts:
                table.compact()
            if options.vacuum is not None:
                table.vacuum(options.vacuum)


def remove_unused_files(options: SyncOptions, names: Iterable[str]) -> None:
    """Remove the data files of Delta tables that a killed merge left, and that are in no version."""
    if options.format != "delta":
        return
    from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable

    for name in names:
        DeltaCopyTable(options.output / name).remove_unused()
