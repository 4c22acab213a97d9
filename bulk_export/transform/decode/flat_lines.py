"""The rows of batches as NDJSON: by the kernel if it takes the columns and their values, otherwise by orjson.

Both write the same bytes. `kernel/flat.h` says what it declines.
"""

from __future__ import annotations

import ctypes

import orjson
import pyarrow as pa

from bulk_export.core.kernel_library import Kernel, load_kernel
from bulk_export.transform.decode.compiled_path import KINDS, LIST, OBJECT, written_node
from bulk_export.transform.schema import arrow_type

_CODES = {arrow_type(kind): code for kind, code in KINDS.items()}
_DECLINED = -1

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


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
                self._compiled = _CompiledLines(kernel, schema)
            except ValueError:
                return

    def text(self, batch: pa.RecordBatch) -> bytes:
        """All rows, with a line end behind each; no line holds another one.

        Raises:
            MemoryError: The system has no memory left.
        """
        text = None if self._compiled is None else self._compiled.text(batch)
        return _orjson_text(batch) if text is None else text


class _CompiledLines:
    def __init__(self, kernel: Kernel, schema: pa.Schema) -> None:
        """Raises ValueError for columns that the kernel does not take."""
        self._kernel = kernel.concurrent
        self._schema = schema
        description = _node(pa.struct(list(schema)), "")
        self._described = self._kernel.kernel_columns(description, len(description))
        if not self._described:
            raise ValueError("the kernel does not take the columns")

    def __del__(self) -> None:
        if getattr(self, "_described", None):
            self._kernel.kernel_schema_free(self._described)

    def text(self, batch: pa.RecordBatch) -> bytes | None:
        """The lines, or None if the kernel declines the batch."""
        if not batch.schema.equals(self._schema):
            return None
        # The capsules hold the buffers for as long as they live.
        capsules = batch.__arrow_c_array__()
        text = ctypes.c_void_p()
        size = self._kernel.kernel_flat(
            self._described, _capsule_pointer(capsules[1], b"arrow_array"), ctypes.byref(text)
        )
        if size < 0:
            if size == _DECLINED:
                return None
            raise MemoryError
        try:
            return ctypes.string_at(text, size)
        finally:
            self._kernel.kernel_free(text)


def _node(declared: pa.DataType, name: str) -> bytes:
    if pa.types.is_list(declared):
        return written_node(LIST, 0, name, [_node(declared.value_type, "")])
    if pa.types.is_struct(declared):
        names = [field.name for field in declared]
        if len(set(names)) < len(names):
            raise ValueError("members of the same name")
        return written_node(OBJECT, 0, name, [_node(field.type, field.name) for field in declared])
    if declared not in _CODES:
        raise ValueError(f"a column of type {declared}")
    return written_node(_CODES[declared], 0, name)


def _orjson_text(batch: pa.RecordBatch) -> bytes:
    names = batch.schema.names
    rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
    lines = (orjson.dumps(dict(zip(names, row, strict=True)), option=orjson.OPT_UTC_Z) for row in rows)
    return b"".join([line + b"\n" for line in lines])
