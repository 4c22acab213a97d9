"""How bodies are stored, as the disk has room."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bulk_export.extract.content_encoding import Undecodable
from bulk_export.extract.journal.bodies import compressed, is_compressing, unpacked
from bulk_export.extract.journal.segment import Segment
from tests.support.journals import CAP, stored_page

GIB = 1 << 30


@pytest.mark.parametrize(
    ("free", "stored", "expected"),
    [(16 * GIB, 0, False), (16 * GIB - 1, 0, True), (16 * GIB, 4 * GIB - 1, False), (99 * GIB, 4 * GIB, True)],
)
def test_room_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, stored: int, expected: bool) -> None:
    """Bodies are compressed when less than 16 GiB are free, or once 4 GiB of them are stored."""
    (tmp_path / "journal.pages").touch()
    monkeypatch.setattr(Segment, "free_bytes", lambda _: free)
    with closing(Segment(tmp_path / "journal.pages", end=stored)) as segment:
        assert is_compressing("by room", segment) is expected
        assert is_compressing("lz4", segment)
        assert not is_compressing("none", segment)


def test_free_bytes_are_those_of_the_disk(tmp_path: Path) -> None:
    with closing(Segment(tmp_path / "journal.pages", end=0)) as segment:
        assert segment.free_bytes() > 0


@pytest.mark.parametrize("gzip", [False, True])
def test_compressed_page_unpacks(gzip: bool) -> None:
    """A page is compressed once, by the service or here, and unpacks to its body."""
    page = stored_page(1, b"x" * 1_000, gzip=gzip)
    packed = compressed(page)
    assert compressed(packed) == packed
    assert len(packed.stored) < 100
    assert unpacked(packed, CAP) == unpacked(page, CAP) == b"x" * 1_000
    with pytest.raises(Undecodable):
        unpacked(replace(packed, stored=packed.stored[:20]), CAP)
