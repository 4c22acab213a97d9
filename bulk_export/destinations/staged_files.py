"""Rows as private Parquet files, for destinations that take files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.files import private_umask
from bulk_export.errors import LocalFailure

# Rows of a file: enough for a good transfer rate, few enough for any temporary directory.
_ROWS_PER_FILE = 500_000


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A private directory, which is removed with what is in it.

    Raises:
        LocalFailure: It cannot be made.
    """
    with _local_failures():
        directory = tempfile.TemporaryDirectory(prefix="bulk-export-")
    with directory as name:
        yield Path(name)


@contextmanager
def _local_failures() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalFailure(
            f"The rows could not be written to the temporary directory: {error.strerror or 'it may be full'}.",
            kept="The rows at the destination are unchanged.",
            next_step="Make room there, or set TMPDIR to another directory.",
        ) from None


def staged_files(directory: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Path, int]]:
    """Write batches into private files of bounded size; the next is begun when one has been taken.

    Args:
        directory: Where the files go; who takes one removes it.
        schema: The schema of the batches.
        batches: The rows.

    Returns:
        The path of each file and the number of its rows.

    Raises:
        LocalFailure: A file cannot be written.
    """
    remaining = iter(batches)
    number = 0
    while (first := next(remaining, None)) is not None:
        path, rows = directory / f"rows-{number:05d}.parquet", 0
        with _local_failures(), private_umask(), pq.ParquetWriter(path, schema, compression="zstd") as writer:
            batch: pa.RecordBatch | None = first
            while batch is not None:
                writer.write_batch(batch)
                rows += batch.num_rows
                batch = next(remaining, None) if rows < _ROWS_PER_FILE else None
        yield path, rows
        number += 1
