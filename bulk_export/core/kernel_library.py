"""The kernel: a shared library of plain C, built from `transform/decode/kernel/` when the package is installed.

It knows nothing of Python, so one file serves every version of it. It is called through ctypes in two ways:
`concurrent` gives up the interpreter for the time of a call, so that other threads can run, and `brief` keeps it, for
calls that take less time than getting it back.

Whether there is a kernel can be asked without importing Arrow.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bulk_export.errors import UsageError

DecoderName = Literal["compiled", "python"]
DECODER_VARIABLE = "BULK_EXPORT_DECODER"
_DECODERS: tuple[DecoderName, ...] = get_args(DecoderName)
# The interface that this module knows. An editable installation may have kept the library of an earlier version.
_VERSION = 1

_pointer, _number, _text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
_FUNCTIONS: tuple[tuple[str, Any, list[Any]], ...] = (
    ("kernel_schema", _pointer, [_text, _number, _text, _number]),
    ("kernel_columns", _pointer, [_text, _number]),
    ("kernel_rules", _pointer, [_text, _number, _text, _number]),
    ("kernel_schema_free", None, [_pointer]),
    ("kernel_decode", _number, [_pointer] * 3 + [_number] + [_pointer] * 7),
    ("kernel_scan", _number, [_text, _number, _pointer, _number, ctypes.c_uint64, _pointer, _pointer]),
    ("kernel_content", ctypes.c_uint64, [_text, _number, ctypes.c_uint64]),
    ("kernel_lines", _number, [_text, _text, _number, _text]),
    ("kernel_redact", _number, [_pointer, _text, _number, _text, _number, _pointer]),
    ("kernel_pseudonyms", None, [_pointer, _text, _text, _number, _pointer]),
    ("kernel_flat", _number, [_pointer] * 3),
    ("kernel_csv", _number, [_pointer, _pointer, _number, _pointer]),
    ("kernel_free", None, [_pointer]),
    ("kernel_fingerprints", _number, [_pointer, _pointer, _number, _pointer]),
    ("kernel_slice", _number, [_pointer, _number, _number, ctypes.c_uint64, _pointer]),
    ("kernel_repeated", _number, [_pointer, _number, _pointer]),
    ("kernel_distinct", _number, [_pointer, _number, _pointer]),
)


_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


@dataclass(frozen=True, slots=True)
class Kernel:
    """The loaded library."""

    concurrent: ctypes.CDLL
    brief: ctypes.PyDLL


@functools.cache
def load_kernel() -> Kernel | None:
    """Load the kernel. Returns None if it was not built, or is not wanted (`BULK_EXPORT_DECODER=python`).

    Raises:
        UsageError: `BULK_EXPORT_DECODER` is no decoder, or asks for the kernel where there is none.
    """
    wanted = _wanted_decoder()
    if wanted == "python":
        return None
    kernel = _load(_library_file())
    if kernel is None and wanted == "compiled":
        raise UsageError(
            f"{DECODER_VARIABLE} is compiled, but this installation has no compiled decoder.",
            next_step=f"Install bulk-export again where there is a C compiler, or unset {DECODER_VARIABLE}.",
        )
    return kernel


def array_in(capsules: tuple[object, object]) -> int:
    """The address of the `ArrowArray` in what `__arrow_c_array__` returned; it is there as long as the capsules are."""
    address: int = _capsule_pointer(capsules[1], b"arrow_array")
    return address


def decoder_name() -> DecoderName:
    """The name of the decoder that is in use. Raises UsageError as `load_kernel` does."""
    return "python" if load_kernel() is None else "compiled"


def check_decoder(warned: Callable[[str], None]) -> None:
    """Load the kernel for a run, and say if there is none: once in a process, and not if Python was asked for.

    Args:
        warned: Receives the warning.

    Raises:
        UsageError: As `load_kernel`.
    """
    if load_kernel() is None and not _wanted_decoder() and not _Warning.was_given:
        _Warning.was_given = True
        warned(
            "this installation has no compiled decoder, so pages are decoded in Python, several times slower;"
            f" {DECODER_VARIABLE}=python silences this line"
        )


class _Warning:
    """The state of this process: the runs of one that polls follow each other."""

    was_given = False


def _wanted_decoder() -> DecoderName | None:
    wanted = os.environ.get(DECODER_VARIABLE, "").strip()
    for possible in _DECODERS:
        if wanted == possible:
            return possible
    if not wanted:
        return None
    raise UsageError(
        f"{DECODER_VARIABLE} must be compiled or python, not {wanted!r}.",
        next_step="Set it to one of them, or not at all.",
    )


def _load(file: Path) -> Kernel | None:
    try:
        kernel = Kernel(ctypes.CDLL(str(file)), ctypes.PyDLL(str(file)))
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


def _library_file() -> Path:
    ending = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    return Path(__file__).parent.parent / f"transform/decode/kernel/_kernel{ending}"
