"""Reads a finished part to its end, which is the only proof that it can be read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 30


class UnreadablePart(ValueError):
    """A part file that cannot be read to its end; the message says why, without its contents."""


def count_rows(path: Path) -> int:
    """The number of rows in a part file of any kind, every one of them read. Raises UnreadablePart, OSError."""
    try:
        return _parquet_rows(path) if path.suffix == ".parquet" else _ndjson_rows(path)
    except pa.ArrowException as error:
        raise UnreadablePart(f"it cannot be read ({type(error).__name__})") from None


def _parquet_rows(path: Path) -> int:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        rows: int = sum(file.read_row_group(group).num_rows for group in range(file.num_row_groups))
        if rows != file.metadata.num_rows:
            raise UnreadablePart("its footer counts other rows than it holds")
        return rows


def _ndjson_rows(path: Path) -> int:
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    rows = 0
    rest = b""
    decoder = msgspec.json.Decoder(msgspec.Raw)
    with pa.input_stream(str(path), compression=compression) as stream:
        while chunk := stream.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                _check_line(decoder, line, rows)
                rows += 1
            if len(rest) > _LONGEST_LINE:
                raise UnreadablePart(f"line {rows + 1} has no end")
    if rest:
        raise UnreadablePart("its last line is cut short")
    return rows


def _check_line(decoder: msgspec.json.Decoder[msgspec.Raw], line: bytes, number: int) -> None:
    if not (line.startswith(b"{") and line.endswith(b"}")):
        raise UnreadablePart(f"line {number + 1} is not a record")
    try:
        decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        from bulk_export.decode import UnusablePage, split_page

        try:
            split_page(b'{"data":[' + line + b"]}")
        except UnusablePage:
            raise UnreadablePart(f"line {number + 1} is not JSON") from None
