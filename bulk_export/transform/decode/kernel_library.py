"""The kernel: a shared library of plain C, built from `kernel/` when the package is installed.

It knows nothing of Python, so one file serves every version of it. It is called through ctypes in two ways:
`concurrent` gives up the interpreter for the time of a call, so that other threads can run, and `brief` keeps it, for
calls that take less time than getting it back.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

DECODER_VARIABLE = "BULK_EXPORT_DECODER"
# The interface that this module knows. An editable installation may have kept the library of an earlier version.
_VERSION = 1

_pointer, _number, _text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("kernel_schema", _pointer, [_text, _number, _text, _number]),
    ("kernel_schema_free", None, [_pointer]),
    ("kernel_decode", _number, [_pointer] * 3 + [_number] + [_pointer] * 7),
    ("kernel_scan", _number, [_text, _number, _pointer, _number, ctypes.c_uint64, _pointer, _pointer]),
    ("kernel_content", ctypes.c_uint64, [_text, _number, ctypes.c_uint64]),
    ("kernel_lines", _number, [_text, _text, _number, _text]),
    ("kernel_flat", _number, [_pointer] * 3),
    ("kernel_free", None, [_pointer]),
    ("kernel_fingerprints", _number, [_pointer, _pointer, _number, _pointer]),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The loaded library."""

    concurrent: ctypes.CDLL
    brief: ctypes.PyDLL


@functools.cache
def load_kernel() -> Kernel | None:
    """Load the kernel. Returns None if it was not built, or is not wanted (`BULK_EXPORT_DECODER=python`)."""
    if os.environ.get(DECODER_VARIABLE) == "python":
        return None
    file = str(resources.files("bulk_export.transform.decode") / "kernel" / library_name())
    try:
        kernel = Kernel(ctypes.CDLL(file), ctypes.PyDLL(file))
        for library in (kernel.concurrent, kernel.brief):
            library.kernel_version.restype = _number
            if library.kernel_version() != _VERSION:
                return None
            for name, result, arguments in _FUNCTIONS:
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return kernel


def decoder_name() -> Literal["compiled", "python"]:
    """The name of the decoder that is in use."""
    return "python" if load_kernel() is None else "compiled"


def library_name() -> str:
    """The name of the file that holds the kernel on this system."""
    return {"win32": "_kernel.dll", "darwin": "_kernel.dylib"}.get(sys.platform, "_kernel.so")
