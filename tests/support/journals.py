"""Journals to read, to damage and to continue."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

from bulk_export.core.model import PageKey
from bulk_export.extract.journal import JournalStore, PageFingerprints, Part, PartFile, StoredPage, layout
from bulk_export.extract.journal.bodies import Compression
from bulk_export.extract.journal.segment import segment_of

# Most bytes of a body in these journals.
CAP = 1 << 20
BODY = b'{"data":[{"id":"a"},{"id":"b"}]}'
IDENTITY = {"service": "things", "endpoints": ["things"], "version": "1"}


def stored_page(page: int, body: bytes = b'{"data":[{"id":"a"}]}', *, gzip: bool = False) -> StoredPage:
    """Return a page of one record, compressed by the service or not."""
    compressor = zlib.compressobj(wbits=31)
    stored = compressor.compress(body) + compressor.flush() if gzip else body
    return StoredPage(PageKey("things", 0, page), 1, "gzip" if gzip else "identity", len(body), stored)


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal that is closed, with its segment."""
    shutil.copy(source, target)
    shutil.copy(segment_of(source), segment_of(target))


def write_journal(path: Path, *, version: int = layout.VERSION, compression: Compression = "none") -> None:
    """Write a journal with a row or two in each table."""
    store = JournalStore(path, cap=CAP, version=version, compression=compression)
    store.bind(IDENTITY)
    pages = [StoredPage(PageKey("things", 0, page), 2, "identity", len(BODY), BODY, (1, 2)) for page in (1, 2)]
    store.add_pages(pages, {"things": 3}, {"retries": "1", "started_at": "2024-05-01T00:00:00Z"})
    store.add_page_fingerprints("things", 0, [PageFingerprints(1, b"12345678", b"87654321")])
    part = PartFile("things/part-00000.parquet", 4, 99, "ab" * 32)
    store.add_part(Part("things", 0, 0, 2, 4, (part,), {}, b"12345678" * 4))
    store.close()
