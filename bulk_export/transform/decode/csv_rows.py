"""The rows of batches as CSV: by the kernel if it takes the columns and their values, otherwise by Arrow.

Both write the same bytes, by RFC 4180:

    text                            in quotes, with the quotes in it doubled; an empty text is `""`
    lists and objects               their JSON, as text
    numbers, booleans, dates and times    without quotes
    null                            nothing, so that it differs from an empty text
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from bulk_export.core.kernel_library import load_kernel
from bulk_export.transform.decode.compiled_rows import CompiledRows
from bulk_export.transform.decode.json_texts import JsonTexts

_LINE_END = "\r\n"
_QUOTE, _SEPARATOR = '"', ","
# Spreadsheets take a cell that begins so for a formula, or skip the first character and look at the next one. The
# last four are the full-width forms of the first four.
_FORMULA = "^([=+\\-@\\t\\r\\n\\x00\uff1d\uff0b\uff0d\uff20])"
# Arrow's columns of text hold less than 2 GiB. Blocks are far smaller, unless records are huge.
_MOST_BYTES = 1 << 26
_MEMBER = "v"


class CsvRows:
    """Writes the rows of batches of one schema as lines of cells.

    Args:
        schema: The columns of every batch.
        safe: Whether an apostrophe is put before text that a spreadsheet takes for a formula.

    Example:
        rows = CsvRows(batch.schema)
        content = rows.header + b"".join(rows.pieces(batch))
    """

    def __init__(self, schema: pa.Schema, *, safe: bool = False) -> None:
        self._safe = safe
        self._columns = [_Column(field.type, safe=safe) for field in schema]
        names = pa.array(schema.names, pa.string())
        cells = _quoted(_without_formulas(names) if safe else names).to_pylist()
        self.header = (_SEPARATOR.join(cells) + _LINE_END).encode()
        self._compiled = self._compiled_rows(schema)

    def pieces(self, batch: pa.RecordBatch) -> Iterator[bytes | pa.Buffer]:
        """All rows, with a line end behind each.

        Raises:
            MemoryError: The system has no memory left.
        """
        if batch.num_rows > 1 and batch.nbytes > _MOST_BYTES:
            half = batch.num_rows // 2
            yield from self.pieces(batch.slice(0, half))
            yield from self.pieces(batch.slice(half))
        elif batch.num_rows:
            text = None if self._compiled is None else self._compiled.text(batch)
            yield self._joined(batch) if text is None else text

    def _compiled_rows(self, schema: pa.Schema) -> CompiledRows | None:
        kernel, safe = load_kernel(), self._safe
        if kernel is None:
            return None
        try:
            return CompiledRows(
                kernel, schema, lambda library, columns, rows, text: library.kernel_csv(columns, rows, safe, text)
            )
        except ValueError:
            return None

    def _joined(self, batch: pa.RecordBatch) -> pa.Buffer:
        cells: list[pa.Array | str] = []
        for column, values in zip(self._columns, batch.columns, strict=True):
            cells += [column.cells(values), _SEPARATOR]
        cells[-1] = _LINE_END
        # Readers pass over a line without anything. A single column is `_extra`, which is never an empty text.
        null = "" if len(self._columns) > 1 else _QUOTE * 2
        lines = pc.binary_join_element_wise(*cells, "", null_handling="replace", null_replacement=null)
        _, offsets, text = lines.buffers()
        return text.slice(0, memoryview(offsets).cast("i")[len(lines)])


class _Column:
    """Makes the cells of a column, as a whole."""

    def __init__(self, declared: pa.DataType, *, safe: bool) -> None:
        self._type = declared
        self._safe = safe
        self._json: JsonTexts | None = None
        if pa.types.is_nested(declared) or pa.types.is_floating(declared):
            self._json = JsonTexts(declared)

    def cells(self, values: pa.Array) -> pa.Array:
        """The text of each cell, null where the value is."""
        if values.null_count == len(values):
            return pa.nulls(len(values), pa.string())
        if self._json is not None:
            texts = self._json.of(values)
            return texts if pa.types.is_floating(self._type) else _quoted(texts)
        if pa.types.is_string(self._type):
            return _quoted(_without_formulas(values) if self._safe else values)
        texts = pc.cast(values, pa.string())
        return _in_iso_form(texts) if pa.types.is_timestamp(self._type) else texts


def _quoted(values: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring(values, _QUOTE)).as_py():
        values = pc.replace_substring(values, _QUOTE, _QUOTE * 2)
    return pc.binary_join_element_wise(_QUOTE, values, _QUOTE, "")


def _without_formulas(values: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(values, _FORMULA, "'\\1")


def _in_iso_form(texts: pa.Array) -> pa.Array:
    """Timestamps as `2025-03-25T02:21:32Z`, and with six decimals where the fraction is not zero."""
    return pc.replace_substring(pc.replace_substring(texts, " ", "T"), ".000000Z", "Z")
