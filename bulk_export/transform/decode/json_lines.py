"""Records as NDJSON lines, as they were sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import overload

import msgspec

from bulk_export.transform.decode.scanned_page import ScannedRecords

# A string, which is kept, or white space outside of one, which is not.
_STRING_OR_WHITESPACE = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|[ \t\r\n]+', re.DOTALL)


class LineBlock(Sequence[bytes]):
    """Lines of JSON. `pieces` is their text, a line end behind each line, for a writer to take one after the other."""

    __slots__ = ("_count", "_lines", "pieces")

    def __init__(self, pieces: Sequence[bytes], count: int) -> None:
        self.pieces = pieces
        self._count = count
        self._lines: list[bytes] | None = None

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> LineBlock:
        """Make them of lines without line ends."""
        if isinstance(lines, LineBlock):
            return lines
        return cls([b"\n".join([*lines, b""])], len(lines))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        return self._split()[index]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._split())

    def _split(self) -> list[bytes]:
        if self._lines is None:
            # No JSON text holds a raw line end: strings have it escaped, and there is no white space between tokens.
            self._lines = b"".join(self.pieces).split(b"\n")[:-1]
        return self._lines


def compact(body: bytes, records: Sequence[bytes]) -> Sequence[bytes]:
    """The records of a page without white space between tokens, every token in the bytes it was sent as."""
    if isinstance(records, ScannedRecords) and records.is_compact:
        return records
    try:
        if len(msgspec.json.format(body, indent=-1)) == len(body):
            return records
        return [msgspec.json.format(record, indent=-1) for record in records]
    except (msgspec.DecodeError, RecursionError):
        return [_STRING_OR_WHITESPACE.sub(rb"\1", record) for record in records]
