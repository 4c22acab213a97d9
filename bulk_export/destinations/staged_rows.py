"""Batches of an export as a destination's staging tables take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.table_plan import LOAD_ID, PARENT_ID, POSITION
from bulk_export.destinations.tables import Column, Table
from bulk_export.errors import UsageError
from bulk_export.transform.decode.json_texts import JsonTexts
from bulk_export.transform.schema import ID

_NUL = "\0"
_REPLACEMENT = "\ufffd"


@dataclass(slots=True)
class NulCount:
    """How many strings held NUL, by column, if it is not replaced."""

    strings: dict[str, int] = field(default_factory=dict)

    def refuse(self, endpoint: str) -> None:
        """Raise UsageError if there were any. The message has no value."""
        if self.strings:
            found = ", ".join(f"{count:,} in {column}" for column, count in self.strings.items())
            raise UsageError(
                f"{endpoint} has strings with NUL, which the destination cannot hold: {found}.",
                kept="Nothing was changed at the destination.",
                next_step="--nul replace writes U+FFFD in their place.",
            )


@dataclass(frozen=True, slots=True)
class StagedRows:
    """Turns batches of an endpoint into the rows of one of its tables.

    Args:
        table: The table.
        dialect: The destination's.
        load_id: The load's id, for a table that has a column for it.
        replace_nul: Whether NUL in strings is replaced where the destination cannot hold it; otherwise it is counted.
    """

    table: Table
    dialect: Dialect
    load_id: str
    replace_nul: bool
    nul: NulCount = field(default_factory=NulCount)

    def batches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the table, in batches with its columns. Raises UsageError at the end if there was NUL."""
        schema = staged_schema(self.table.columns)
        for batch in batches:
            source = batch if self.table.nested is None else _elements(batch, self.table.nested)
            arrays = [self._array(source, column) for column in self.table.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        self.nul.refuse(self.table.endpoint)

    def _array(self, batch: pa.RecordBatch, column: Column) -> pa.Array:
        if column.name == self.dialect.fold(LOAD_ID) and not column.source:
            return pa.repeat(pa.scalar(self.load_id), batch.num_rows)
        array = batch.column(column.source)
        if column.json and not _is_string(array.type):
            return JsonTexts(array.type).of(array)
        array = array.cast(column.type) if array.type != column.type else array
        return array if self.dialect.holds_nul else self._without_nul(array, column)

    def _without_nul(self, array: pa.Array, column: Column) -> pa.Array:
        strings = array.flatten() if pa.types.is_list(array.type) else array
        if not _is_string(strings.type):
            return array
        found = pc.sum(pc.match_substring(strings, _NUL)).as_py() or 0
        if not found:
            return array
        if not self.replace_nul:
            self.nul.strings[column.source] = self.nul.strings.get(column.source, 0) + found
            return array
        if array is strings:
            return pc.replace_substring(array, _NUL, _REPLACEMENT)
        # Arrow makes no list with nulls of a slice.
        lists = array.take(pa.array(range(len(array))))
        replaced = pc.replace_substring(lists.values, _NUL, _REPLACEMENT)
        return pa.ListArray.from_arrays(lists.offsets, replaced, mask=lists.is_null())


def staged_schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of the rows of a table."""
    return pa.schema([pa.field(column.name, column.type, column.nullable) for column in columns])


def remembered(batches: Iterable[pa.RecordBatch], failures: list[Exception]) -> Iterator[pa.RecordBatch]:
    """The batches; an exception on the way is added to `failures`, for drivers that replace it by one of their own."""
    try:
        yield from batches
    except Exception as error:
        failures.append(error)
        raise


def _elements(batch: pa.RecordBatch, nested: str) -> pa.RecordBatch:
    """The elements of a column of lists of objects, each with the id of its record and its position from 0."""
    lists = batch.column(nested)
    parents = pc.list_parent_indices(lists)
    elements = pc.list_flatten(lists)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())
    first = pc.subtract(pc.cumulative_sum(lengths), lengths)
    positions = pc.subtract(pa.array(range(len(elements)), pa.int64()), pc.take(first, parents))
    members = {field.name: pc.struct_field(elements, [index]) for index, field in enumerate(elements.type)}
    members |= {PARENT_ID: pc.take(batch.column(ID), parents), POSITION: positions}
    return pa.RecordBatch.from_pydict(members)


def _is_string(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_))
