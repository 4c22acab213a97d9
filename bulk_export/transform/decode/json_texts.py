"""Values of a column as JSON texts, for cells and columns that hold no lists and objects."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.transform.decode.flat_lines import FlatLines

_MEMBER = "v"


class JsonTexts:
    """Writes the values of columns of one type.

    Args:
        declared: The type.

    Example:
        texts = JsonTexts(column.type).of(column)
    """

    def __init__(self, declared: pa.DataType) -> None:
        self._lines = FlatLines(pa.schema([pa.field(_MEMBER, declared)]))

    def of(self, values: pa.Array) -> pa.Array:
        """The JSON of each value, as flat lines have it; null where the value is null.

        >>> JsonTexts(pa.list_(pa.string())).of(pa.array([["a"], None])).to_pylist()
        ['["a"]', None]
        """
        text = self._lines.text(pa.record_batch([values], [_MEMBER]))
        # No line holds another line end. What stands behind the last one is no line.
        members = pc.split_pattern(pa.array([text], pa.large_binary()), b"\n").values[:-1]
        texts = pc.binary_slice(members, len(f'{{"{_MEMBER}":'), -1).cast(pa.string())
        return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string())) if values.null_count else texts
