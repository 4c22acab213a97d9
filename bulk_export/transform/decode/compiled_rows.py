"""Rows of batches as text, written by the kernel if it takes the columns and their values."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from bulk_export.core.kernel_library import Kernel, array_in
from bulk_export.transform.decode.description_node import KINDS, LIST, OBJECT, written_node
from bulk_export.transform.decode.kernel_text import taken_text
from bulk_export.transform.schema import arrow_type

_CODES = {arrow_type(kind): code for kind, code in KINDS.items()}

# Takes the library, the described columns, the rows and where the text goes; returns the size of the text.
WriteRows = Callable[[ctypes.CDLL, int, Any, Any], int]


class CompiledRows:
    """Writes the rows of batches of one schema.

    Args:
        kernel: The library.
        schema: The columns of every batch.
        write: Calls the function of the kernel that writes them.

    Raises:
        ValueError: The kernel does not take the columns.
    """

    def __init__(self, kernel: Kernel, schema: pa.Schema, write: WriteRows) -> None:
        self._kernel = kernel.concurrent
        self._schema = schema
        self._write = write
        description = _node(pa.struct(list(schema)), "")
        self._described = self._kernel.kernel_columns(description, len(description))
        if not self._described:
            raise ValueError("the kernel does not take the columns")

    def __del__(self) -> None:
        if getattr(self, "_described", None):
            self._kernel.kernel_schema_free(self._described)

    def text(self, batch: pa.RecordBatch) -> bytes | None:
        """All rows, or None if the kernel declines the batch.

        Raises:
            MemoryError: The system has no memory left.
        """
        if not batch.schema.equals(self._schema):
            return None
        # The capsules hold the buffers for as long as they live.
        capsules = batch.__arrow_c_array__()
        text = ctypes.c_void_p()
        size = self._write(self._kernel, self._described, array_in(capsules), ctypes.byref(text))
        return taken_text(self._kernel, text, size)


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
