"""The journal: what it stores, and what of it survives."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore, Part, PartFile, layout
from bulk_export.extract.journal.bodies import Compression, compressed
from bulk_export.extract.journal.segment import segment_of
from tests.support.journals import CAP, copy_journal, stored_page


@pytest.mark.parametrize("gzip", [False, True])
def test_page_survives_reopening(path: Path, gzip: bool) -> None:
    """A page reads back as it arrived after the journal is opened again."""
    body = os.urandom(10_000)
    store = JournalStore(path, cap=CAP)
    store.add_pages([stored_page(3, body, gzip=gzip)], {"things": 2}, {"retries": "1"})
    store.close()

    again = JournalStore(path, cap=CAP)
    assert again.body(PageKey("things", 0, 3)) == body
    assert again.page_counts("things", 0) == [(3, 1)]
    assert again.requests() == {"things": 2}
    assert again.fact("retries") == "1"
    again.close()


def test_commit_survives_without_close(path: Path, tmp_path: Path) -> None:
    """What was committed is there though the journal was not closed."""
    store = JournalStore(path, cap=CAP)
    store.add_pages([stored_page(1)], {}, {})
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"copy{suffix}")
    shutil.copy(segment_of(path), segment_of(tmp_path / "copy"))
    store.close()
    copy = JournalStore(tmp_path / "copy", cap=CAP)
    assert copy.page_counts("things", 0) == [(1, 1)]
    assert copy.body(PageKey("things", 0, 1)) == stored_page(1).stored
    copy.close()


@pytest.mark.parametrize("keep", [0, 31, 32, 500, 5_000])
def test_torn_log(path: Path, tmp_path: Path, keep: int) -> None:
    """A torn log loses at most the last commits."""
    store = JournalStore(path, cap=CAP, version=layout.SEGMENT_VERSION)
    for page in range(1, 6):
        store.add_pages([stored_page(page)], {}, {})
    copy = tmp_path / "torn"
    copy_journal(path, copy)
    whole = Path(f"{path}-wal").read_bytes()
    Path(f"{copy}-wal").write_bytes(whole[: len(whole) - keep])
    store.close()
    torn = JournalStore(copy, cap=CAP)
    pages = [page for page, _ in torn.page_counts("things", 0)]
    assert [torn.body(PageKey("things", 0, page)) for page in pages] == [stored_page(1).stored] * len(pages)
    assert pages == list(range(1, len(pages) + 1))
    assert len(pages) >= 4 if keep < 4_096 else len(pages) >= 3
    torn.close()


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_flipped_byte_is_noticed(path: Path, compression: Compression) -> None:
    """A change of any byte of a stored body is noticed, and the others are read all the same."""
    store = JournalStore(path, cap=CAP, version=layout.SEGMENT_VERSION, compression=compression)
    store.add_pages([stored_page(page, gzip=page == 2) for page in (1, 2)], {}, {})
    whole = segment_of(path).read_bytes()
    first = len((compressed(stored_page(1)) if compression == "lz4" else stored_page(1)).stored)
    for at in range(len(whole)):
        segment_of(path).write_bytes(bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]))
        damaged, sound = (1, 2) if at < first else (2, 1)
        with pytest.raises(DamagedState, match=f"page {damaged} of things is not as it was stored"):
            store.body(PageKey("things", 0, damaged))
        assert store.body(PageKey("things", 0, sound)) == stored_page(1).stored
    store.close()


def test_parts_in_order(path: Path) -> None:
    """Parts come back in order, with their fingerprints."""
    store = JournalStore(path, cap=CAP)
    parts = [
        Part(
            "things", 0, number, number * 10, 3, (PartFile(f"things/part-{number}", 3, 9, "ab"),), {"a": 1}, b"12345678"
        )
        for number in (1, 0)
    ]
    for part in parts:
        store.add_part(part)
    assert [(part.part, part.last_page, part.files, part.drift) for part in store.parts("things", 0)] == [
        (part.part, part.last_page, part.files, part.drift) for part in reversed(parts)
    ]
    assert list(store.fingerprints("things", 0)) == [b"12345678"] * 2
    assert store.parts("things", 1) == []
    store.close()
