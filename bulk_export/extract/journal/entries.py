"""What a journal holds, as values; each is checked for shape and bounds when it is read from its row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bulk_export.core.model import PageKey

# One byte of lz4 stands for at most 255; the frame has a header.
_BEST_LZ4_RATIO = 255
_LZ4_FRAME_BYTES = 64
_MOST = 2**53
_ENCODINGS = ("lz4", "gzip", "x-gzip", "identity", "")
# A body that was redacted before it was stored may have grown; no other body exceeds the cap.
_REDACTION_GROWTH = 2
# Nor does a body become longer than this by compression.
_STORED_GROWTH = 4
_HASH_BYTES = 8


class InvalidRow(ValueError):
    """A row that this program never wrote; the message completes a sentence that begins with the row's name."""


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page as it arrived.

    Attributes:
        key: Endpoint, sweep and number of the page.
        records: Number of its records.
        encoding: Encoding of `stored`.
        size: Bytes of the body when it is decompressed.
        stored: The body as it is stored.
        edges: Order keys of its first and last record, None for a record without one.
    """

    key: PageKey
    records: int
    encoding: str
    size: int
    stored: bytes
    edges: tuple[int | None, int | None] = (None, None)

    @classmethod
    def from_row(cls, values: Sequence[Any], cap: int) -> Self:
        """Return a page without its body. `cap` bounds the size of a body. Raises InvalidRow."""
        # Where bodies are in a segment, `place` is position and size of this one there.
        endpoint, sweep, page, records, first, last, encoding, size, crc, *place = values
        if not (isinstance(endpoint, str) and endpoint and _are_counts(sweep, page, records, size, crc, *place)):
            raise InvalidRow("is not described as a page")
        if not all(key is None or type(key) is int for key in (first, last)) or encoding not in _ENCODINGS:
            raise InvalidRow("is not described as a page")
        if size > _REDACTION_GROWTH * cap:
            raise InvalidRow(f"would take {size} bytes of memory")
        if place and place[1] > _STORED_GROWTH * cap:
            raise InvalidRow(f"would take {place[1]} bytes of memory")
        if records > size:
            raise InvalidRow(f"cannot hold {records} records")
        return cls(PageKey(endpoint, sweep, page), records, encoding, size, b"", edges=(first, last))

    def may_hold(self, stored_bytes: int) -> bool:
        """Return whether so many stored bytes can decompress to `size`: no lz4 frame does better than this."""
        if self.encoding == "identity":
            return self.size == stored_bytes
        return self.encoding != "lz4" or self.size <= _BEST_LZ4_RATIO * stored_bytes + _LZ4_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class PageFingerprints:
    """For each record of a page, in order, 64 bits of a hash of its id and 64 of its whole text."""

    page: int
    ids: bytes
    contents: bytes

    @classmethod
    def from_row(cls, values: Sequence[Any]) -> Self:
        """Return the fingerprints of a page. Raises InvalidRow."""
        _, _, page, ids, contents = values
        if not (_are_counts(page) and isinstance(ids, bytes) and isinstance(contents, bytes)):
            raise InvalidRow("has no fingerprints")
        if len(ids) != len(contents) or len(ids) % _HASH_BYTES:
            raise InvalidRow("has other fingerprints than records")
        return cls(page, ids, contents)


@dataclass(frozen=True, slots=True)
class PartFile:
    """One file of a part. `path` is relative to the output directory, with forward slashes."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of an endpoint that are completely on disk, in one file for each format.

    Attributes:
        endpoint: Name of the endpoint.
        revision: How many times the endpoint was converted before.
        part: Number of the part, from 0.
        last_page: The last page whose rows are in it.
        rows: Number of its rows.
        files: Its files.
        drift: Counts of what the schema has no place for.
        fingerprints: 64 bits of a hash of each row's id.
    """

    endpoint: str
    revision: int
    part: int
    last_page: int
    rows: int
    files: tuple[PartFile, ...]
    drift: Mapping[str, Any]
    fingerprints: bytes | bytearray

    @classmethod
    def from_row(cls, values: Sequence[Any]) -> Self:
        """Return a part without its fingerprints. Raises InvalidRow, ValueError or TypeError."""
        endpoint, revision, part, last_page, rows, files, drift, fingerprints = values
        if not (isinstance(endpoint, str) and _are_counts(revision, part, last_page, rows)):
            raise InvalidRow("is not described as a part")
        described = tuple(PartFile(*file) for file in json.loads(files))
        if not isinstance(fingerprints, bytes) or len(fingerprints) % _HASH_BYTES:
            raise InvalidRow("has no fingerprints")
        if not described:
            raise InvalidRow("has no file")
        for file in described:
            if not (isinstance(file.path, str) and isinstance(file.sha256, str) and _are_counts(file.rows, file.bytes)):
                raise InvalidRow("has files that are not described")
            folder, _, name = file.path.partition("/")
            if folder != endpoint or not name or "/" in name or "\0" in name or file.rows != rows:
                raise InvalidRow("has files of another part")
        counts = json.loads(drift)
        if not isinstance(counts, dict):
            raise InvalidRow("does not say what was unknown in it")
        return cls(endpoint, revision, part, last_page, rows, described, counts, b"")


def requests_from_row(values: Sequence[Any]) -> tuple[str, int]:
    """Return an endpoint's name and how many requests were sent for it. Raises InvalidRow."""
    endpoint, sent = values
    if not (isinstance(endpoint, str) and _are_counts(sent)):
        raise InvalidRow("is no number")
    return endpoint, sent


def _are_counts(*values: Any) -> bool:
    return all(type(value) is int and 0 <= value < _MOST for value in values)
