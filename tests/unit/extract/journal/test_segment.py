"""Bodies in a file: whole or not there, whatever stops an append."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore, StoredPage, layout
from bulk_export.extract.journal.segment import Segment, segment_of
from bulk_export.output.file_names import JOURNAL, SEGMENT
from tests.support.disk_calls import counted, fail_at
from tests.support.journals import BODY, CAP, IDENTITY, copy_journal, stored_page, write_journal

KEYS = [PageKey("things", 0, page) for page in (1, 2)]


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    with closing(Segment(tmp_path / "journal.pages", end=0)) as segment:
        yield segment


def resume(path: Path) -> None:
    """Check everything in a journal, as a run does at its start."""
    with closing(JournalStore(path, cap=CAP)) as store:
        store.bind(IDENTITY)


def test_name_belongs_to_working_state() -> None:
    assert segment_of(Path(JOURNAL)) == Path(SEGMENT)


def test_new_segment_is_private(tmp_path: Path) -> None:
    """A new segment is private whatever the umask is, and is not inherited by other programs."""
    before = os.umask(0)
    try:
        Segment(tmp_path / "new.pages", end=0).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.pages").stat().st_mode) == 0o600


@given(appends=st.lists(st.lists(st.binary(max_size=50), max_size=5), max_size=5))
@hypothesis_settings(max_examples=50, deadline=None)
def test_bodies_read_back(tmp_path_factory: pytest.TempPathFactory, appends: list[list[bytes]]) -> None:
    """Bodies read back from where they were put, by whoever opens the file next, and lie one behind the other."""
    path = tmp_path_factory.mktemp("segment") / "journal.pages"
    placed: list[tuple[int, bytes]] = []
    end = 0
    for bodies in appends:
        with closing(Segment(path, end=end)) as segment:
            placed += zip(segment.append(iter(bodies)), bodies, strict=True)
            end = segment.end
            assert [segment.read(position, len(body)) for position, body in placed] == [body for _, body in placed]
    assert (path.read_bytes() if appends else b"") == b"".join(body for _, body in placed)


def test_short_writes_go_on(segment: Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that writes and reads a few bytes at a time stores and gives all."""
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[:3], at))
    monkeypatch.setattr(os, "pread", lambda file, size, at: read(file, min(size, 3), at))
    assert segment.append([BODY, BODY]) == [0, len(BODY)]
    assert segment.read(len(BODY), len(BODY)) == BODY
    assert segment.read(len(BODY), 1_000) == BODY


def test_body_that_cannot_be_made(segment: Segment) -> None:
    """An append whose bodies fail on the way leaves the end where it was."""

    def bodies() -> Iterator[bytes]:
        yield b"one"
        raise ValueError

    segment.append([b"zero"])
    with pytest.raises(ValueError):  # noqa: PT011  # it is that of the generator
        segment.append(bodies())
    assert segment.append([b"1"]) == [4]
    assert segment.read(4, 1) == b"1"


def test_closed_segment_is_not_used(segment: Segment) -> None:
    """A closed segment writes into no file that got its descriptor."""
    segment.close()
    segment.close()
    with pytest.raises(OSError, match="closed"):
        segment.append([BODY])
    with pytest.raises(OSError, match="closed"):
        segment.read(0, 1)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def hard_link(path: Path) -> None:
    os.link(path, path.with_name("second name"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("attack", [directory, link, hard_link, pipe])
def test_other_things_are_not_opened(tmp_path: Path, attack: Callable[[Path], None], end: int) -> None:
    """A segment that is a directory, a link, a hard link or a pipe is refused, by itself and by its journal."""
    path = tmp_path / "journal.sqlite"
    JournalStore(path, cap=CAP).close()
    attack(segment_of(path))
    with pytest.raises(OSError):  # noqa: PT011  # the number differs
        Segment(segment_of(path), end=end)
    with pytest.raises(LocalFailure, match=r"journal\.pages is"):
        JournalStore(path, cap=CAP)


def test_missing_segment(complete: Path, path: Path) -> None:
    """A segment without which pages are lost is missed and not made; one of an empty journal is made."""
    copy_journal(complete, path)
    segment_of(path).unlink()
    with pytest.raises(DamagedState, match=r"journal\.pages, which holds its pages, is missing"):
        JournalStore(path, cap=CAP)
    assert not segment_of(path).exists()
    empty = path.with_name("empty.sqlite")
    JournalStore(empty, cap=CAP).close()
    segment_of(empty).unlink()
    JournalStore(empty, cap=CAP).close()
    assert segment_of(empty).exists()


def test_shorter_segment(older: Path, path: Path) -> None:
    """A segment that lost bytes of a page is damaged, wherever it ends, and stays as it is."""
    copy_journal(older, path)
    for size in range(2 * len(BODY)):
        shutil.copy(segment_of(older), segment_of(path))
        os.truncate(segment_of(path), size)
        with pytest.raises(DamagedState, match=f"page {1 + size // len(BODY)} of things is not as it was stored"):
            resume(path)
        assert segment_of(path).stat().st_size == size


@pytest.mark.parametrize("rest", [b"x", b"x" * 5_000])
def test_torn_end(complete: Path, path: Path, rest: bytes) -> None:
    """Bytes behind the last page are of an append that a kill cut short, and are written over."""
    copy_journal(complete, path)
    with segment_of(path).open("ab") as segment:
        segment.write(rest)
    resume(path)
    with closing(JournalStore(path, cap=CAP)) as store:
        store.add_pages([stored_page(3, b"y" * 100)], {}, {})
        assert store.body(PageKey("things", 0, 3)) == b"y" * 100
        assert [store.body(key) for key in KEYS] == [BODY, BODY]
    resume(path)


def test_append_torn_at_any_byte(older: Path, path: Path) -> None:
    """An append that stopped after any of its bytes leaves the pages before it, and the same append can follow."""
    second = b'{"data":[{"id":"c"}]}'
    with segment_of(older).open("rb") as segment:
        whole = segment.read()
    copy_journal(older, path)
    with closing(JournalStore(path, cap=CAP)) as store:
        for size in range(len(second) + 1):
            segment_of(path).write_bytes(whole + second[:size])
            assert [store.body(key) for key in KEYS] == [BODY, BODY]
        store.add_pages([stored_page(3, second)], {}, {})
        assert store.body(PageKey("things", 0, 3)) == second


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("torn", [False, True])
def test_failing_disk_call(complete: Path, path: Path, error: int, torn: bool) -> None:
    """Whichever disk call of an append fails, its pages are all there or none is, and it can be repeated."""
    pages = [stored_page(page, bytes([page]) * 3_000) for page in (3, 4)]
    number, has_failed = 0, True
    while has_failed:
        number += 1
        copy_journal(complete, path)
        has_failed = False
        with closing(JournalStore(path, cap=CAP, compression="none")) as store:
            with counted(fail_at(number, error, lasting=False, torn=torn)):
                try:
                    store.add_pages(pages, {}, {})
                except LocalFailure:
                    has_failed = True
            assert [page for page, _ in store.page_counts("things", 0)] == ([1, 2] if has_failed else [1, 2, 3, 4])
            store.add_pages(pages, {}, {})
            found = [store.body(PageKey("things", 0, page)) for page in (1, 2, 3, 4)]
            assert found == [BODY, BODY, *(page.stored for page in pages)]
        resume(path)
    # Two writes and a sync in the segment, and those of SQLite.
    assert number > 4


def test_failed_rows_keep_their_bodies(path: Path) -> None:
    """Bodies whose rows could not be written are not written over: the rows may be found after a crash."""
    with closing(JournalStore(path, cap=CAP, version=layout.SEGMENT_VERSION, compression="none")) as store:
        store._writer.execute("CREATE TEMP TRIGGER t BEFORE INSERT ON pages BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(DamagedState):
            store.add_pages([stored_page(1, b"one")], {}, {})
        store._writer.execute("DROP TRIGGER t")
        store.add_pages([stored_page(2, b"two")], {}, {})
    assert segment_of(path).read_bytes() == b"onetwo"


def test_page_stored_again(path: Path) -> None:
    """A page that is stored again takes the place of the earlier one, whose bytes stay unread."""
    with closing(JournalStore(path, cap=CAP, compression="none")) as store:
        store.bind(IDENTITY)
        store.add_pages([stored_page(1, b"[1]"), stored_page(2, b"[2]")], {}, {})
        store.add_pages([stored_page(1, b"[3]")], {}, {})
        assert store.body(KEYS[0]) == b"[3]"
        assert [page.stored for page in store.pages()] == [b"[2]", b"[3]"]
    resume(path)


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("compression", ["lz4", "none"])
def test_compression_may_change(path: Path, compression: str, size: int) -> None:
    """Pages are read however each was stored."""
    body = b"x" * size
    for page, chosen in enumerate(("lz4", "none", compression), start=1):
        with closing(JournalStore(path, cap=CAP, compression=chosen)) as store:  # type: ignore[arg-type]
            store.add_pages([StoredPage(PageKey("things", 0, page), 0, "identity", size, body)], {}, {})
    with closing(JournalStore(path, cap=CAP)) as store:
        assert [page.encoding for page in store.pages()] == [
            "lz4",
            "identity",
            {"none": "identity"}.get(compression, compression),
        ]
        assert [store.body(PageKey("things", 0, page)) for page in (1, 2, 3)] == [body] * 3


def place(path: Path, page: int, position: object, size: object) -> None:
    """Say that a page is in another place, with the sum that goes with it."""
    with closing(sqlite3.connect(path)) as connection:
        names = layout.summed_columns("pages", layout.SEGMENT_VERSION)
        row = connection.execute(f"SELECT {', '.join(names)} FROM pages WHERE page = ?", (page,)).fetchone()
        row = (*row[:-2], position, size)
        connection.execute(
            "UPDATE pages SET position = ?, stored_size = ?, sum = ? WHERE page = ?",
            (position, size, layout.row_sum("pages", row), page),
        )
        connection.commit()


@pytest.mark.parametrize(
    ("position", "size", "said"),
    [
        (0, len(BODY), "page 2 of things lies where another one does"),
        (len(BODY) - 1, len(BODY), "page 2 of things is not as it was stored"),
        (1 << 40, len(BODY), "page 2 of things is not as it was stored"),
        (-1, len(BODY), "page 2 of 'things' is not described as a page"),
        (len(BODY), -1, "page 2 of 'things' is not described as a page"),
        (len(BODY), 1 << 40, "page 2 of 'things' would take 1099511627776 bytes"),
        (1 << 62, 1 << 62, "does not say where its pages are"),
        (-(1 << 40), 0, "page 2 of 'things' is not described as a page"),
        ("x", len(BODY), "page 2 of 'things' is not described as a page"),
        (1.5, len(BODY), "does not say where its pages are"),
    ],
)
def test_forged_place(older: Path, path: Path, position: object, size: object, said: str) -> None:
    """A row that points into another page, behind the end or nowhere is damaged, and costs no memory."""
    copy_journal(older, path)
    place(path, 2, position, size)
    before = segment_of(path).read_bytes()
    with pytest.raises(DamagedState, match=said):
        resume(path)
    assert segment_of(path).read_bytes() == before


def test_older_format_is_finished(path: Path) -> None:
    """A journal of format 3 stays one: bodies go into it, compressed, and no segment is made."""
    write_journal(path, version=layout.ARCHIVE_VERSION)
    with closing(JournalStore(path, cap=CAP, compression="none")) as store:
        assert store.bind(IDENTITY)
        store.add_pages([stored_page(3)], {}, {})
        assert store.body(PageKey("things", 0, 3)) == stored_page(3).stored
    resume(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (layout.ARCHIVE_VERSION,)
        assert connection.execute("SELECT encoding FROM pages WHERE page = 3").fetchone() == ("lz4",)
    assert not segment_of(path).exists()
