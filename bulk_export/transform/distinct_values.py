"""How many different values a column has, which decides whether a dictionary pays."""

from __future__ import annotations

import ctypes

import pyarrow as pa

from bulk_export.core.kernel_library import array_in, load_kernel


def count_distinct(values: pa.Array) -> int:
    """Count the different values of a column, nulls apart.

    The kernel compares texts by their hashes of 64 bits, so it may count one too few, once in ten billion columns.
    """
    if values.null_count == len(values):
        return 0
    kernel, width = load_kernel(), _width(values.type)
    if kernel is None or width is None:
        # The kernel counts without what this imports, for which an export would wait as long as for a few pages.
        import pyarrow.compute as pc

        counted: int = pc.count_distinct(values).as_py()
        return counted
    capsules = values.__arrow_c_array__()
    found: int = kernel.concurrent.kernel_distinct(array_in(capsules), width, (ctypes.c_uint64 * (2 * len(values)))())
    return found


def _width(declared: pa.DataType) -> int | None:
    """How many bytes a value has, 0 for texts, None where only Arrow knows when two values are equal."""
    if pa.types.is_string(declared):
        return 0
    if pa.types.is_integer(declared) or pa.types.is_timestamp(declared) or pa.types.is_date(declared):
        return declared.bit_width // 8 if declared.bit_width in (32, 64) else None
    return None
