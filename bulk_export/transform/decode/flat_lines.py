"""The rows of batches as NDJSON: by the kernel if it takes the columns and their values, otherwise by orjson.

Both write the same bytes. `kernel/flat.h` says what it declines.
"""

from __future__ import annotations

import orjson
import pyarrow as pa

from bulk_export.core.kernel_library import load_kernel
from bulk_export.transform.decode.compiled_rows import CompiledRows


class FlatLines:
    """Writes the rows of batches of one schema as JSON objects, with the columns as members in their order.

    Args:
        schema: The columns of every batch.

    Example:
        text = FlatLines(batch.schema).text(batch)
    """

    def __init__(self, schema: pa.Schema) -> None:
        kernel = load_kernel()
        self._compiled = None
        if kernel is not None:
            try:
                self._compiled = CompiledRows(kernel, schema, lambda library, *rows: library.kernel_flat(*rows))
            except ValueError:
                return

    def text(self, batch: pa.RecordBatch) -> bytes:
        """All rows, with a line end behind each; no line holds another one.

        Raises:
            MemoryError: The system has no memory left.
        """
        text = None if self._compiled is None else self._compiled.text(batch)
        return _orjson_text(batch) if text is None else text


def _orjson_text(batch: pa.RecordBatch) -> bytes:
    names = batch.schema.names
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    lines = (orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_UTC_Z) for row in rows)
    return b"".join([line + b"\n" for line in lines])
