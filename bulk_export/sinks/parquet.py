"""Parquet part files whose bytes depend on the rows alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.decode import Block
from bulk_export.schema import EXTRA, ID
from bulk_export.sinks.interface import PrivateFile

# Large enough for DuckDB and BigQuery to read in parallel, small enough to hold in memory a few times over.
ROW_GROUP_ROWS = 32_768
# Columns in which hardly a value repeats: a dictionary would be built and thrown away.
_UNIQUE = frozenset({ID, EXTRA, "created_at", "updated_at", "email", "full_name", "teacher_reference_number"})


class ParquetPart:
    """Collects rows and writes a row group whenever ROW_GROUP_ROWS are there, wherever blocks end."""

    def __init__(self, path: Path, compression: str, schema: pa.Schema) -> None:
        self._schema = schema
        self._chunks: list[list[pa.Array]] = [[] for _ in schema]
        self._rows = 0
        self._file = PrivateFile(path)
        try:
            self._writer = pq.ParquetWriter(
                pa.PythonFile(self._file, mode="w"),
                schema,
                version="2.6",
                compression=compression,
                use_dictionary=[name for name in _leaves(schema) if name.rpartition(".")[2] not in _UNIQUE],
                write_statistics=True,
                write_page_checksum=True,
                store_schema=False,
            )
        except BaseException:
            self._file.discard()
            raise

    def write(self, block: Block) -> None:
        """Append the rows of a block's batch."""
        if block.batch is None:
            raise ValueError("a block without a batch")
        batch = block.batch
        while batch.num_rows:
            head = batch.slice(0, ROW_GROUP_ROWS - self._rows)
            for chunks, column in zip(self._chunks, head.columns, strict=True):
                chunks.append(column)
            self._rows += head.num_rows
            batch = batch.slice(head.num_rows)
            if self._rows == ROW_GROUP_ROWS:
                self._write_row_group()

    def close(self) -> None:
        """Write the last row group and the footer, and sync."""
        if self._rows:
            self._write_row_group()
        self._writer.close()
        self._file.sync_and_close()

    def abort(self) -> None:
        """Remove the file, then let pyarrow write its footer to nowhere."""
        self._chunks.clear()
        self._file.discard()
        self._writer.close()

    def _write_row_group(self) -> None:
        columns = []
        for chunks in self._chunks:
            # One column is put together at a time, so that hardly more than the row group is held.
            columns.append(pa.concat_arrays(chunks))
            chunks.clear()
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=self._rows)
        self._rows = 0


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of the columns as Parquet stores them: `a`, `b.c`, `d.list.element`."""

    def leaves(name: str, declared: pa.DataType) -> list[str]:
        if pa.types.is_list(declared):
            return leaves(f"{name}.list.element", declared.value_type)
        if pa.types.is_struct(declared):
            return [leaf for field in declared for leaf in leaves(f"{name}.{field.name}", field.type)]
        return [name] if not pa.types.is_boolean(declared) else []

    return [leaf for field in schema for leaf in leaves(field.name, field.type)]
