"""Parquet part files. Their bytes depend on the rows alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.output.formats.base import PrivateFile
from bulk_export.transform.decode import Block
from bulk_export.transform.distinct_values import count_distinct

# Enough row groups for DuckDB and BigQuery to read in parallel, and small enough to hold one for each endpoint in
# memory. Groups two or three times as large make files 4 to 8 % smaller, and nothing faster.
ROW_GROUP_ROWS = 32_768
# A column gets a dictionary if its values occur at least this often, on average over the first row group. Below,
# zstd alone makes smaller files.
_MIN_REPETITIONS = 8


class ParquetPart:
    """Collects rows, and writes a row group of each ROW_GROUP_ROWS, wherever blocks end."""

    def __init__(self, path: Path, compression: str, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._compression = compression
        self._chunks: list[list[pa.Array]] = [[] for _ in schema]
        self._waiting = 0
        self._writer: pq.ParquetWriter | None = None
        self._file = PrivateFile(path)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, once it is closed."""
        return self._file.sha256

    def write(self, block: Block) -> None:
        """Append the rows of a block's batch."""
        if block.batch is None:
            raise ValueError("a block without a batch")
        batch = block.batch
        while batch.num_rows:
            head = batch.slice(0, ROW_GROUP_ROWS - self._waiting)
            for chunks, column in zip(self._chunks, head.columns, strict=True):
                chunks.append(column)
            self._waiting += head.num_rows
            self.rows += head.num_rows
            batch = batch.slice(head.num_rows)
            if self._waiting == ROW_GROUP_ROWS:
                self._write_row_group()

    def close(self) -> None:
        """Write the last row group and the footer, and sync."""
        if self._waiting or self._writer is None:
            self._write_row_group()
        if self._writer is not None:
            self._writer.close()
        self._file.sync_and_close()

    def abort(self) -> None:
        """Remove the file; the footer that pyarrow writes is ignored."""
        self._chunks.clear()
        self._file.discard()
        if self._writer is not None:
            self._writer.close()

    def _write_row_group(self) -> None:
        columns = []
        for chunks, field in zip(self._chunks, self._schema, strict=True):
            # Columns are joined one at a time, so that hardly more than one row group is in memory.
            columns.append(pa.concat_arrays(chunks) if chunks else pa.nulls(0, field.type))
            chunks.clear()
        row_group = pa.Table.from_arrays(columns, schema=self._schema)
        if self._writer is None:
            self._writer = self._open(row_group)
        if self._waiting:
            self._writer.write_table(row_group, row_group_size=self._waiting)
        self._waiting = 0

    def _open(self, first: pa.Table) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            pa.PythonFile(self._file, mode="w"),
            self._schema,
            version="2.6",
            compression=self._compression,
            use_dictionary=[path for path, values in _leaves(first) if _repeat(values)],
            write_statistics=True,
            write_page_checksum=True,
            store_schema=False,
        )


def _leaves(table: pa.Table) -> Iterator[tuple[str, pa.Array]]:
    """The columns as Parquet stores them, with paths like `a`, `b.c` and `d.list.element`."""

    def leaves(path: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
        if pa.types.is_list(values.type):
            yield from leaves(f"{path}.list.element", values.flatten())
        elif pa.types.is_struct(values.type):
            for field, member in zip(values.type, values.flatten(), strict=True):
                yield from leaves(f"{path}.{field.name}", member)
        else:
            yield path, values

    for name, column in zip(table.column_names, table.columns, strict=True):
        yield from leaves(name, column.chunk(0))


def _repeat(values: pa.Array) -> bool:
    """Whether a dictionary of the values would be small compared with them."""
    if pa.types.is_boolean(values.type):
        return False
    given: int = len(values) - values.null_count
    return _MIN_REPETITIONS * count_distinct(values) <= given
