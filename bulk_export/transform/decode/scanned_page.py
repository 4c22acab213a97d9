"""The records of a page as the kernel finds them: where each begins and ends, its id, and what it holds as a number.

Nothing is cut out or decoded before somebody asks for it.
"""

from __future__ import annotations

import ctypes
import secrets
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import overload

from bulk_export.core.kernel_library import Kernel, load_kernel

_MOST_RECORDS = 1 << 14
_HAS_SPACE, _IDS_UNKNOWN = 1, 2
# Unknown to the service, so that it cannot make two pages alike that are not.
_SEED = secrets.randbits(64)


class _RecordBounds(ctypes.Structure):
    _fields_ = [
        ("begin", ctypes.c_int32),
        ("end", ctypes.c_int32),
        ("id_begin", ctypes.c_int32),
        ("id_end", ctypes.c_int32),
        ("fingerprint", ctypes.c_uint64),
    ]


# Makes a bytes object whose content is still to be written: nobody else knows it before it is returned.
_new_bytes = ctypes.pythonapi.PyBytes_FromStringAndSize
_new_bytes.restype = ctypes.py_object
_new_bytes.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]
_INTS_A_RECORD = ctypes.sizeof(_RecordBounds) // 4


class _Results(threading.local):
    """Where the kernel writes what it finds; each thread has its own."""

    def __init__(self) -> None:
        self.records = (_RecordBounds * _MOST_RECORDS)()
        self.content, self.flags = ctypes.c_uint64(), ctypes.c_int32()


_results = _Results()


class ScannedRecords(Sequence[bytes]):
    """The records of a page, each in the bytes it was sent as.

    Attributes:
        text: The page.
        bounds: What the kernel found of each record.
        content: A number made of all records, whatever their order.
        is_compact: Whether no record holds white space between tokens.
        ids: The ids, or None if a record has not exactly one that is a plain string.
    """

    __slots__ = ("_count", "bounds", "content", "ids", "is_compact", "text")

    def __init__(self, text: bytes, bounds: bytes, count: int, content: int, flags: int) -> None:
        self.text = text
        self.bounds = bounds
        self._count = count
        self.content = content
        self.is_compact = not flags & _HAS_SPACE
        self.ids = None if flags & _IDS_UNKNOWN else ScannedIds(text, bounds)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return list(self)[index]
        position = range(self._count)[index] * _INTS_A_RECORD
        bounds = memoryview(self.bounds).cast("i")
        return self.text[bounds[position] : bounds[position + 1]]

    def __iter__(self) -> Iterator[bytes]:
        text, bounds = self.text, memoryview(self.bounds).cast("i").tolist()
        spans = zip(bounds[::_INTS_A_RECORD], bounds[1::_INTS_A_RECORD], strict=True)
        return iter([text[begin:end] for begin, end in spans])

    def lines(self) -> bytes:
        """The records with a line end behind each."""
        kernel = load_kernel()
        if kernel is None:
            return b"".join(record + b"\n" for record in self)
        given = (self.text, self.bounds, self._count)
        lines: bytes = _new_bytes(None, kernel.brief.kernel_lines(*given, None))
        kernel.concurrent.kernel_lines(*given, lines)
        return lines


class HashedIds(Sequence[str]):
    """Ids of records, none of them empty, with their fingerprints. They become texts when somebody looks at them."""

    __slots__ = ()

    @abstractmethod
    def fingerprints(self) -> bytes:
        """64 bits of the hash of each id: XXH3, in native byte order."""


class ScannedIds(HashedIds):
    """The ids of the records of a page, where they are in its text.

    Attributes:
        text: The page.
        bounds: What the kernel found of each record.
    """

    __slots__ = ("_ids", "bounds", "text")

    def __init__(self, text: bytes, bounds: bytes) -> None:
        self.text = text
        self.bounds = bounds
        self._ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.bounds) // ctypes.sizeof(_RecordBounds)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._decoded()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoded())

    def fingerprints(self) -> bytes:
        """64 bits of the hash of each id: XXH3, in native byte order."""
        marks = memoryview(self.bounds).cast("Q")
        return marks[2 :: _INTS_A_RECORD // 2].tobytes()

    def _decoded(self) -> list[str]:
        if self._ids is None:
            text, bounds = self.text, memoryview(self.bounds).cast("i").tolist()
            spans = zip(bounds[2::_INTS_A_RECORD], bounds[3::_INTS_A_RECORD], strict=True)
            self._ids = [text[begin:end].decode() for begin, end in spans]
        return self._ids


def scan_page(body: bytes) -> ScannedRecords | None:
    """Find the records of a page that has them in `data`. None if the kernel declines it, or is not there."""
    kernel = load_kernel()
    if kernel is None:
        return None
    results = _results
    count = kernel.concurrent.kernel_scan(
        body,
        len(body),
        results.records,
        _MOST_RECORDS,
        _SEED,
        ctypes.byref(results.content),
        ctypes.byref(results.flags),
    )
    if count < 0:
        return None
    bounds = ctypes.string_at(results.records, count * ctypes.sizeof(_RecordBounds))
    return ScannedRecords(body, bounds, count, results.content.value, results.flags.value)


def content_of(records: Sequence[bytes]) -> int:
    """Return the same number for pages with the same records, in any order: ties may come in another one each time."""
    if isinstance(records, ScannedRecords):
        return hash((len(records), records.content))
    kernel = load_kernel()
    if kernel is None:
        return hash((len(records), sum(map(hash, records))))
    return hash((len(records), _sum(kernel, records)))


def _sum(kernel: Kernel, records: Sequence[bytes]) -> int:
    hashes: Iterator[int] = (kernel.brief.kernel_content(record, len(record), _SEED) for record in records)
    return sum(hashes) % (1 << 64)
