"""How the body of a page is stored: as the service compressed it, compressed here, or as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pyarrow as pa

from bulk_export.extract.content_encoding import Undecodable, inflate
from bulk_export.extract.journal.entries import StoredPage
from bulk_export.extract.journal.segment import Segment

# On pages of 340 kB, lz4 takes a third of the time that splitting them into records takes, for a sixth of the size.
# zstd at its fastest takes twice as long as lz4, for an eighth.
_CODEC_NAME = "lz4"
_CODEC = pa.Codec(_CODEC_NAME)
# Writing a body as it is takes less time still, if its place is not missed: while so much of the disk is free, and
# bodies take less than this of it.
_LEAST_FREE = 16 * 1024**3
_MOST_UNCOMPRESSED = 4 * 1024**3

# What becomes of a body that came uncompressed: by default, what the disk has room for.
Compression = Literal["lz4", "none", "by room"]


def compressed(page: StoredPage) -> StoredPage:
    """Return a page whose body is compressed, by the service or here."""
    if page.encoding != "identity":
        return page
    return replace(page, encoding=_CODEC_NAME, stored=_CODEC.compress(page.stored, asbytes=True))


def is_compressing(compression: Compression, segment: Segment) -> bool:
    """Whether bodies that came uncompressed are to be compressed in a segment. Raises OSError."""
    if compression == "by room":
        return segment.end >= _MOST_UNCOMPRESSED or segment.free_bytes() < _LEAST_FREE
    return compression == "lz4"


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
        return bytes(_CODEC.decompress(page.stored, page.size, asbytes=True))
    except (OSError, ValueError):
        raise Undecodable("an lz4 frame that is damaged") from None
