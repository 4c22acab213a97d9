"""What a journal holds, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.core.model import PageKey

# A byte of lz4 stands for 255 at most; the frame has a header.
_BEST_LZ4 = 255
_LZ4_FRAME = 64


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page as it arrived: `stored` is the body in its `encoding`, `size` its length when inflated.

    `edges` are the order keys of its first and last record.
    """

    key: PageKey
    records: int
    encoding: str
    size: int
    stored: bytes
    edges: tuple[int | None, int | None] = (None, None)

    def may_hold(self, stored: int) -> bool:
        """Whether a stored body of so many bytes can inflate to `size`: no packer does better than this."""
        return self.encoding != "lz4" or self.size <= _BEST_LZ4 * stored + _LZ4_FRAME


@dataclass(frozen=True, slots=True)
class PagePrints:
    """64 bits of the id and 64 of the whole text of each record of a page, in order."""

    page: int
    ids: bytes
    contents: bytes


@dataclass(frozen=True, slots=True)
class PartFile:
    """One file of a part. `path` is relative to the output directory, with forward slashes."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of an endpoint that are whole on disk, in one file a format, up to and with `last_page`.

    `revision` counts how often the endpoint was converted anew. `fingerprints` holds 64 bits a row.
    """

    endpoint: str
    revision: int
    part: int
    last_page: int
    rows: int
    files: tuple[PartFile, ...]
    drift: Mapping[str, Any]
    fingerprints: bytes | bytearray
