"""Reads finished parts to their end: nothing else proves that they can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.output.formats.base import LONGEST_LINE, UnreadablePart
from bulk_export.output.formats.csv_reading import csv_rows

_CHUNK = 1 << 20
_BATCH_ROWS = 8192


def count_rows(path: Path) -> int:
    """Read every row of a part file of any format, and count them. Raises UnreadablePart and OSError."""
    try:
        if path.suffix == ".parquet":
            return _parquet_rows(path)
        return csv_rows(_chunks(path)) if ".csv" in path.suffixes else _ndjson_rows(path)
    except pa.ArrowException as error:
        raise UnreadablePart(f"it cannot be read ({type(error).__name__})") from None


def first_unreadable(paths: Iterable[Path]) -> Path | None:
    """The first part file that cannot be read to its end, to be named where a library only says that one cannot."""
    for path in paths:
        try:
            count_rows(path)
        except (UnreadablePart, OSError):
            return path
    return None


def schema_of(path: Path) -> pa.Schema:
    """The columns of a Parquet file, whose name need not be UTF-8. Raises OSError and exceptions of Arrow."""
    with path.open("rb") as content:
        return pq.read_schema(content)


def _parquet_rows(path: Path) -> int:
    # Arrow accepts names in UTF-8 only, so it gets an open file.
    with path.open("rb") as content, pq.ParquetFile(content, page_checksum_verification=True) as file:
        # A thread of Arrow that still works when the process ends can abort it.
        rows: int = sum(batch.num_rows for batch in file.iter_batches(_BATCH_ROWS, use_threads=False))
        if rows != file.metadata.num_rows:
            raise UnreadablePart("its footer counts other rows than it holds")
        return rows


def _ndjson_rows(path: Path) -> int:
    decoder = msgspec.json.Decoder(msgspec.Raw)
    rows = 0
    for line in _lines(path):
        _check_line(decoder, line, rows)
        rows += 1
    return rows


def _chunks(path: Path) -> Iterator[bytes]:
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    with path.open("rb") as content, pa.input_stream(content, compression=compression) as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _lines(path: Path) -> Iterator[bytes]:
    beginning: list[bytes] = []
    for chunk in _chunks(path):
        first, *others = chunk.split(b"\n")
        beginning.append(first)
        if others:
            yield b"".join(beginning)
            yield from others[:-1]
            beginning = [others[-1]]
        elif sum(map(len, beginning)) > LONGEST_LINE:
            raise UnreadablePart("it holds a line without an end")
    if any(beginning):
        raise UnreadablePart("its last line is cut short")


def _check_line(decoder: msgspec.json.Decoder[msgspec.Raw], line: bytes, number: int) -> None:
    if not (line.startswith(b"{") and line.endswith(b"}")):
        raise UnreadablePart(f"line {number + 1} is not a record")
    try:
        decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        from bulk_export.transform.decode import InvalidPage, split_page

        try:
            split_page(b'{"data":[' + line + b"]}")
        except InvalidPage:
            raise UnreadablePart(f"line {number + 1} is not JSON") from None
