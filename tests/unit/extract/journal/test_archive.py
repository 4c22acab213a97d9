"""Archives: pages that outlive their export."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import ORIGIN, JournalStore, PageFingerprints, open_archive, write_archive
from bulk_export.extract.journal.bodies import Compression
from bulk_export.extract.journal.segment import segment_of
from tests.support.journals import CAP, stored_page, write_journal

BODY = b'{"data":[{"id":"a"}]}'


@pytest.fixture
def store(tmp_path: Path) -> JournalStore:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    store = JournalStore(scratch / "journal.sqlite", cap=CAP)
    store.add_pages([stored_page(page, gzip=page % 2 == 0) for page in range(1, 30)], {"things": 29}, {"a": "1"})
    store.add_page_fingerprints("things", 0, [PageFingerprints(1, b"12345678", b"12345678")])
    return store


def archive(store: JournalStore, path: Path, **changes: object) -> None:
    write_archive(
        store,
        path,
        scratch=store.path.parent,
        facts={ORIGIN: "{}"},
        **{"rewrite": None} | changes,  # type: ignore[arg-type]  # one at a time
    )


def test_archive_holds_every_page(store: JournalStore, tmp_path: Path) -> None:
    """An archive is a private file with every page, in place of an earlier one."""
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
    assert sorted(entry.name for entry in store.path.parent.iterdir()) == ["journal.pages", "journal.sqlite"]


def test_archive_in_read_only_directory(store: JournalStore, tmp_path: Path) -> None:
    """An archive is read in a directory that cannot be written to."""
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


def test_bodies_are_rewritten(store: JournalStore, tmp_path: Path) -> None:
    """Bodies can be changed on the way into the archive."""
    archive(store, tmp_path / "pages.sqlite", rewrite=lambda _, body: body.replace(b"a", b"canary"))
    store.close()
    kept = open_archive(tmp_path / "pages.sqlite", cap=CAP)
    assert kept.body(PageKey("things", 0, 7)) == BODY.replace(b"a", b"canary")
    kept.close()


def test_damaged_page_is_not_archived(store: JournalStore, tmp_path: Path) -> None:
    """A page that is damaged in the journal is not archived, nor are the others."""
    (position,) = store._writer.execute("SELECT position FROM pages WHERE page = 3").fetchone()
    with segment_of(store.path).open("r+b") as segment:
        segment.seek(position)
        segment.write(b"\0")
    with pytest.raises(DamagedState, match="page 3 of things"):
        archive(store, tmp_path / "pages.sqlite")
    store.close()
    assert not (tmp_path / "pages.sqlite").exists()


def test_archive_is_the_same_for_any_journal(tmp_path: Path) -> None:
    """An archive has the same rows and bodies, in the format that earlier versions read, however pages were stored."""
    kinds: list[tuple[int, Compression]] = [(3, "lz4"), (4, "lz4"), (4, "none")]
    found = []
    for number, (version, compression) in enumerate(kinds):
        journal = tmp_path / str(number) / "journal.sqlite"
        journal.parent.mkdir()
        write_journal(journal, version=version, compression=compression)
        with closing(JournalStore(journal, cap=CAP)) as store:
            store.add_pages([stored_page(3, gzip=True)], {}, {})
            archive(store, tmp_path / f"{number}.sqlite")
        with closing(sqlite3.connect(tmp_path / f"{number}.sqlite")) as connection:
            found.append(list(connection.iterdump()))
            assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\0" + bytes(200)])
def test_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no archive is refused and left as it is."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamagedState):
        open_archive(tmp_path / "file", cap=CAP)
    assert (tmp_path / "file").read_bytes() == content
    with pytest.raises(LocalFailure, match="No such file"):
        open_archive(tmp_path / "none", cap=CAP)


def test_journal_is_no_archive(store: JournalStore) -> None:
    """The journal of an unfinished export is no archive."""
    store.seal()
    with pytest.raises(DamagedState, match="not an archive of a finished export"):
        open_archive(store.path, cap=CAP)


def test_newer_archive_is_refused(store: JournalStore, tmp_path: Path) -> None:
    """An archive of a newer format is refused with the way on, and left as it is."""
    path = tmp_path / "pages.sqlite"
    archive(store, path)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    before = path.read_bytes()
    with pytest.raises(DamagedState, match="it has format 9, and 2 and 3 are known here") as refused:
        open_archive(path, cap=CAP)
    assert "the version that wrote it" in refused.value.next_step
    assert path.read_bytes() == before
