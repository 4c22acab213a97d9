"""Pages that outlive their export."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import ORIGIN, JournalStore, PagePrints, open_archive, write_archive
from tests.unit.extract.journal.test_store import CAP, stored_page

BODY = b'{"data":[{"id":"a"}]}'


@pytest.fixture
def store(tmp_path: Path) -> JournalStore:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = JournalStore(scratch / "journal.sqlite", cap=CAP)
    store.add_pages([stored_page(page, gzip=page % 2 == 0) for page in range(1, 30)], {"things": 29}, {"a": "1"})
    store.add_page_fingerprints("things", 0, [PagePrints(1, b"12345678", b"12345678")])
    return store


def archive(store: JournalStore, path: Path, **changes: object) -> None:
    write_archive(
        store,
        path,
        scratch=store.path.parent,
        facts={ORIGIN: "{}"},
        **{"rewrite": None} | changes,  # type: ignore[arg-type]  # one at a time
    )


def test_an_archive_is_a_private_file_with_every_page_in_place_of_an_earlier_one(
    store: JournalStore, tmp_path: Path
) -> None:
    path = tmp_path / "pages.sqlite"
    path.write_bytes(b"an earlier one")
    (store.path.parent / "pages.sqlite.partial").write_bytes(b"left by a crash")
    archive(store, path)
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = open_archive(path, cap=CAP)
    assert [kept.body(PageKey("things", 0, page)) for page in range(1, 30)] == [BODY] * 29
    assert list(kept.page_fingerprints("things", 0)) == []
    assert kept.requests() == {"things": 29}
    kept.close()
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["pages.sqlite"]
    assert [entry.name for entry in store.path.parent.iterdir()] == ["journal.sqlite"]


def test_an_archive_is_read_where_nothing_can_be_written(store: JournalStore, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    archive(store, folder / "pages.sqlite")
    store.close()
    (folder / "pages.sqlite").chmod(0o400)
    folder.chmod(0o500)
    kept = open_archive(folder / "pages.sqlite", cap=CAP)
    assert kept.page_counts("things", 0) == [(page, 1) for page in range(1, 30)]
    with pytest.raises(LocalFailure):
        kept.put_fact("a", "2")
    kept.close()
    folder.chmod(0o700)


def test_bodies_can_be_changed_on_the_way(store: JournalStore, tmp_path: Path) -> None:
    archive(store, tmp_path / "pages.sqlite", rewrite=lambda _, body: body.replace(b"a", b"canary"))
    store.close()
    kept = open_archive(tmp_path / "pages.sqlite", cap=CAP)
    assert kept.body(PageKey("things", 0, 7)) == BODY.replace(b"a", b"canary")
    kept.close()


def test_a_page_that_was_damaged_meanwhile_is_not_archived(store: JournalStore, tmp_path: Path) -> None:
    store._writer.execute("UPDATE pages SET body = x'00' WHERE page = 3")
    with pytest.raises(DamagedState, match="page 3 of things"):
        archive(store, tmp_path / "pages.sqlite")
    store.close()
    assert not (tmp_path / "pages.sqlite").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_archive_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedState):
        open_archive(tmp_path / "file", cap=CAP)
    assert (tmp_path / "file").read_bytes() == content
    with pytest.raises(LocalFailure, match="No such file"):
        open_archive(tmp_path / "none", cap=CAP)


def test_the_journal_of_an_unfinished_export_is_no_archive(store: JournalStore) -> None:
    store.seal()
    with pytest.raises(DamagedState, match="not an archive of a finished export"):
        open_archive(store.path, cap=CAP)
