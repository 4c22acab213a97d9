"""How the body of a page is stored: as the service compressed it, compressed here, or as it is."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from bulk_export.extract.content_encoding import Undecodable, crc32, inflate
from bulk_export.extract.journal.entries import StoredPage

if TYPE_CHECKING:
    import pyarrow as pa

# On pages of 340 kB, lz4 takes a third of the time that splitting them into records takes, for a sixth of the size.
# zstd at its fastest takes twice as long as lz4, for an eighth.
_CODEC_NAME = "lz4"
# Negative levels of lz4 search less: a sixth less time for 3 % more bytes.
_LEVEL = -4
# What becomes of a body that came uncompressed. Storing it as it is saves the compression, and gives the disk six times
# as much to write: on ordinary disks, lz4 is faster altogether.
Compression = Literal["lz4", "none"]


@functools.cache
def _codec() -> pa.Codec:
    # Services that compress need none, and the first request does not wait for it.
    import pyarrow as pa

    return pa.Codec(_CODEC_NAME, compression_level=_LEVEL)


def compressed(page: StoredPage) -> StoredPage:
    """Return a page whose body is compressed, by the service or here."""
    if page.encoding != "identity":
        return page
    return replace(page, encoding=_CODEC_NAME, stored=_codec().compress(page.stored, asbytes=True))


def header_of(page: StoredPage) -> tuple[Any, ...]:
    """Return the columns of a page's row that are the same in every format."""
    key = page.key
    return (key.endpoint, key.sweep, key.page, page.records, *page.edges, page.encoding, page.size, crc32(page.stored))


def packed(pages: Iterable[StoredPage], compression: Compression) -> tuple[Iterator[bytes], Iterator[tuple[Any, ...]]]:
    """Return the bodies of pages as they go into a segment, and what describes them.

    Both are made while the bodies are iterated over, so that one is in memory at a time. A description is a row without
    position and sum, the size of the body last.
    """
    headers: list[tuple[Any, ...]] = []

    def bodies() -> Iterator[bytes]:
        for page in pages:
            stored = compressed(page) if compression == "lz4" else page
            headers.append((*header_of(stored), len(stored.stored)))
            yield stored.stored

    return bodies(), iter(headers)


def unpacked(page: StoredPage, cap: int) -> bytes:
    """Return the decompressed body of a page whose stored bytes are as they were written.

    Args:
        page: The page.
        cap: Most bytes that a body compressed by the service may have.

    Raises:
        Undecodable: It cannot be decompressed.
    """
    if page.encoding == "identity":
        return page.stored
    if page.encoding != _CODEC_NAME:
        return inflate(page.stored, page.encoding, cap)
    try:
        return bytes(_codec().decompress(page.stored, page.size, asbytes=True))
    except (OSError, ValueError):
        raise Undecodable("an lz4 frame that is damaged") from None
