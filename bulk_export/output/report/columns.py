"""What the footers of Parquet files say of their columns: types, rows and nulls. No value is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.text import counted
from bulk_export.output.report.part_files import Opener


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, its type, and how many of its values are null, None if the footers do not say."""

    name: str
    type: str
    nulls: int | None


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of a table, and the number of its rows; `unreadable` counts files that are missing or damaged."""

    columns: tuple[Column, ...]
    rows: int
    unreadable: int = 0


def columns_of(files: Iterable[Opener]) -> TableColumns:
    """Read the footers of the Parquet files of a table. A file that lacks a column has only nulls in it."""
    types: dict[str, str] = {}
    nulls: dict[str, int | None] = {}
    rows = unreadable = 0
    for opened in files:
        try:
            with opened() as file:
                found = pq.ParquetFile(file)
                footer, schema = found.metadata, found.schema_arrow
        except (pa.ArrowException, OSError):
            unreadable += 1
            continue
        counted = _nulls(footer, schema)
        for name in [*nulls, *(name for name in schema.names if name not in nulls)]:
            # Rows of earlier files, in which the column was missing.
            before = nulls.get(name, rows)
            here = counted.get(name, footer.num_rows) if name in schema.names else footer.num_rows
            nulls[name] = None if before is None or here is None else before + here
        types |= {field.name: short_type(field.type) for field in schema}
        rows += footer.num_rows
    return TableColumns(tuple(Column(name, types[name], nulls[name]) for name in types), rows, unreadable)


def short_type(type_: pa.DataType) -> str:
    """A type in few words: what is in a list or an object is not listed."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return f"list of {short_type(type_.value_type)}"
    if pa.types.is_struct(type_):
        return f"object of {counted(type_.num_fields, 'field')}"
    return str(type_)


def _nulls(footer: pq.FileMetaData, schema: pa.Schema) -> dict[str, int | None]:
    """The nulls of each column, None for nested ones, whose leaves count otherwise."""
    flat = {field.name for field in schema if not pa.types.is_nested(field.type)}
    counts: dict[str, int | None] = {field.name: 0 if field.name in flat else None for field in schema}
    for group in range(footer.num_row_groups):
        for chunk in _chunks(footer.row_group(group)):
            name = chunk.path_in_schema
            if name in flat:
                statistics = chunk.statistics
                known = statistics is not None and statistics.has_null_count
                before = counts[name]
                counts[name] = before + statistics.null_count if known and before is not None else None
    return counts


def _chunks(group: pq.RowGroupMetaData) -> Sequence[pq.ColumnChunkMetaData]:
    return [group.column(number) for number in range(group.num_columns)]
