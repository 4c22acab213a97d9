"""Parquet part files whose bytes depend on the rows alone."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.decode import Block
from bulk_export.schema import EXTRA, ID
from bulk_export.sinks.interface import PrivateFile

# Large enough for DuckDB and BigQuery to read in parallel, small enough to hold in memory a few times over.
ROW_GROUP_ROWS = 65_536
# Columns in which hardly a value repeats: a dictionary would be built and thrown away.
_UNIQUE = frozenset({ID, EXTRA, "created_at", "updated_at", "email", "full_name", "teacher_reference_number"})


class ParquetPart:
    """Collects rows and writes a row group whenever ROW_GROUP_ROWS are there, wherever blocks end."""

    def __init__(self, path: Path, compression: str, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
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
        self._waiting.append(block.batch)
        self._rows += block.batch.num_rows
        while self._rows >= ROW_GROUP_ROWS:
            self._write_row_group(ROW_GROUP_ROWS)

    def close(self) -> None:
        """Write the last row group and the footer, and sync."""
        if self._rows:
            self._write_row_group(self._rows)
        self._writer.close()
        self._file.sync_and_close()

    def abort(self) -> None:
        """Remove the file, then let pyarrow write its footer to nowhere."""
        self._waiting.clear()
        self._file.discard()
        self._writer.close()

    def _write_row_group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        rest = table.slice(rows)
        self._rows -= rows
        self._waiting = rest.to_batches() if self._rows else []


def _leaves(schema: pa.Schema) -> list[str]:
    """The paths of the columns as Parquet stores them: `a`, `b.c`, `d.list.element`."""

    def leaves(name: str, declared: pa.DataType) -> list[str]:
        if pa.types.is_list(declared):
            return leaves(f"{name}.list.element", declared.value_type)
        if pa.types.is_struct(declared):
            return [leaf for field in declared for leaf in leaves(f"{name}.{field.name}", field.type)]
        return [name] if not pa.types.is_boolean(declared) else []

    return [leaf for field in schema for leaf in leaves(field.name, field.type)]
