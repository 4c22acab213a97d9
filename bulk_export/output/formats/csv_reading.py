"""Counts the rows of CSV files, whose quoted cells may hold line ends, and checks the form of every row."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from bulk_export.output.formats.base import LONGEST_LINE, UnreadablePart

_LINE_END = b"\r\n"
# For lines without the contents of quotes: whatever has no meaning becomes an x.
_MARKS = bytes(byte if byte in b'",\r\n' else ord("x") for byte in range(256))


def csv_rows(chunks: Iterable[bytes]) -> int:
    """Count the rows of a CSV file as exports write it, without the header.

    Args:
        chunks: The content of the file, cut anywhere.

    Raises:
        UnreadablePart: It is not UTF-8, a row has another number of cells than the header, or it is cut short.
    """
    lines = -1
    separators: int | None = None
    for outlines in _outlines(_text(chunks)):
        is_regular = _is_regular(outlines)
        for line in outlines.split(_LINE_END)[:-1]:
            lines += 1
            if not is_regular and not _is_regular(line):
                raise UnreadablePart(f"row {lines} is no row of CSV" if lines else "its header is no row of CSV")
            if separators is None:
                separators = line.count(b",")
            elif line.count(b",") != separators:
                raise UnreadablePart(f"row {lines} has another number of cells than the header")
    if lines < 0:
        raise UnreadablePart("it has no header")
    return lines


def _is_regular(outlines: bytes) -> bool:
    """Whether each cell is quoted as a whole or not at all, and nothing else ends a line than CR LF."""
    marks = outlines.translate(_MARKS)
    ends = marks.count(_LINE_END)
    return b'x"' not in marks and b'"x' not in marks and marks.count(b"\r") == ends == marks.count(b"\n")


def _text(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks, without a byte order mark, if they are UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
    try:
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise UnreadablePart("it is not UTF-8") from None


def _outlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines without what stands in quotes, so that only the line ends between rows are left."""
    beginning: list[bytes] = []
    held = b""
    is_quoted = False
    for chunk in chunks:
        # Quotes open and close in turn: a doubled one closes and opens again.
        pieces = chunk.split(b'"')
        contents = slice(not is_quoted, None, 2)
        pieces[contents] = [b""] * len(pieces[contents])
        is_quoted ^= len(pieces) % 2 == 0
        outside = held + b'"'.join(pieces)
        held = outside[-1:] if outside.endswith(_LINE_END[:1]) else b""
        lines, end, rest = outside.removesuffix(held).rpartition(_LINE_END)
        if end:
            yield b"".join([*beginning, lines, end])
            beginning = []
        beginning.append(rest)
        if not end and sum(map(len, beginning)) > LONGEST_LINE:
            raise UnreadablePart("it holds a line without an end")
    if is_quoted or held or any(beginning):
        raise UnreadablePart("its last line is cut short")
