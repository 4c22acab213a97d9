"""Batches: durable after one sync, whole or not there, and a torn end is told from damage."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore, batched, layout
from bulk_export.extract.journal.batches import DamagedBatch, Tip, batches_behind
from bulk_export.extract.journal.segment import Segment, segment_of
from tests.support.disk_calls import counted, fail_at
from tests.support.journals import CAP, IDENTITY, stored_page

Found = tuple[list[int], dict[str, int], str | None]


def add(store: JournalStore, *pages: int) -> None:
    """Store pages in one batch, with a request for each and a fact that names the last one."""
    store.add_pages([stored_page(page) for page in pages], {"things": len(pages)}, {"last": str(pages[-1])})


def killed(store: JournalStore, copy: Path) -> Path:
    """What a kill at this moment leaves of a journal, copied to `copy`."""
    shutil.copy(segment_of(store.path), segment_of(copy))
    shutil.copy(store.path, copy)
    wal = Path(f"{store.path}-wal")
    Path(f"{copy}-wal").unlink(missing_ok=True)
    Path(f"{copy}-shm").unlink(missing_ok=True)
    if wal.exists():
        shutil.copy(wal, f"{copy}-wal")
    return copy


def found_in(path: Path) -> Found:
    """Check a journal as a run does at its start; pages, requests and the fact that are in it."""
    with closing(JournalStore(path, cap=CAP)) as store:
        store.bind(IDENTITY)
        pages = [page for page, _ in store.page_counts("things", 0)]
        for page in pages:
            assert store.body(PageKey("things", 0, page)) == stored_page(page).stored
        return pages, store.requests(), store.fact("last")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Where a journal is copied to."""
    return tmp_path / "copy.sqlite"


@pytest.fixture
def two_batches(path: Path, copy: Path) -> tuple[bytes, int, int]:
    """A killed journal at `copy` with one batch of page 1, and one of pages 2 and 3, neither in the database.

    The segment, and where each batch ends.
    """
    with closing(JournalStore(path, cap=CAP, compression="none")) as store:
        store.bind(IDENTITY)
        add(store, 1)
        first = segment_of(path).stat().st_size
        add(store, 2, 3)
        killed(store, copy)
    whole = segment_of(copy).read_bytes()
    return whole, first, len(whole)


def rows_in(path: Path) -> int:
    """How many pages have rows in the database."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM pages").fetchone()[0])


def tip_of(path: Path) -> Tip:
    """Behind which batch the rows of a killed journal are not in its database."""
    with closing(sqlite3.connect(path)) as connection:
        return Tip.from_row(connection.execute("SELECT token, position, number, digest FROM batches").fetchone())


def pages_behind(path: Path, tip: Tip) -> list[list[int]]:
    """The numbers of the pages in each whole batch behind a tip."""
    with closing(Segment(segment_of(path), end=1)) as segment:
        return [[row[2] for row in batch.pages] for batch, _ in batches_behind(segment, tip, cap=CAP)]


def with_segment(copy: Path, original: Path, content: bytes) -> Path:
    """Put a killed journal back as it was, with another segment."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{original}{suffix}", f"{copy}{suffix}")
    Path(f"{copy}-shm").unlink(missing_ok=True)
    segment_of(copy).write_bytes(content)
    return copy


@pytest.fixture
def original(copy: Path, two_batches: tuple[bytes, int, int], tmp_path: Path) -> Path:
    """The killed journal of `two_batches` once more, which no test opens."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{copy}{suffix}", f"{tmp_path / 'original.sqlite'}{suffix}")
    return tmp_path / "original.sqlite"


def test_killed_after_commits(copy: Path, two_batches: tuple[bytes, int, int]) -> None:
    """Commits that were not in the database when the process was killed are all there, once."""
    assert rows_in(copy) == 0
    assert found_in(copy) == ([1, 2, 3], {"things": 3}, "3")
    assert rows_in(copy) == 3
    assert found_in(copy) == ([1, 2, 3], {"things": 3}, "3")


def test_torn_at_any_byte(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """A batch that is cut at any byte is not there as a whole, and the one before it is."""
    whole, first, end = two_batches
    tip = tip_of(original)
    for size in range(first, end):
        segment_of(copy).write_bytes(whole[:size])
        assert pages_behind(copy, tip) == [[1]]


def test_torn_batch_is_stored_again(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """A journal with a torn batch goes on with the same batch."""
    whole, first, end = two_batches
    for size in range(first, end, 60):
        torn = with_segment(copy, original, whole[:size])
        assert found_in(torn) == ([1], {"things": 1}, "1")
        with closing(JournalStore(torn, cap=CAP, compression="none")) as store:
            add(store, 2, 3)
        assert found_in(torn) == ([1, 2, 3], {"things": 3}, "3")


def test_zeros_instead_of_any_block(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """A batch of which only some blocks reached the disk before a power cut is not there."""
    whole, first, end = two_batches
    tip = tip_of(original)
    for at in range(first, end, 16):
        segment_of(copy).write_bytes(whole[:at] + bytes(min(16, end - at)) + whole[at + 16 :])
        assert pages_behind(copy, tip) == [[1]]


def test_any_byte_flipped(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """Any changed byte of a batch is noticed: it is damage if another batch follows, and a torn end otherwise."""
    whole, first, end = two_batches
    tip = tip_of(original)
    for at in range(end):
        segment_of(copy).write_bytes(bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]))
        if at >= first:
            assert pages_behind(copy, tip) == [[1]]
        else:
            with pytest.raises(DamagedBatch, match="what it stored from byte 0 on is not as it was"):
                pages_behind(copy, tip)


def test_damage_is_refused(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """A journal whose batch is damaged is refused with exit code 5, and its segment stays as it is."""
    whole, first, _ = two_batches
    damaged = bytes([*whole[: first - 1], whole[first - 1] ^ 1, *whole[first:]])
    with_segment(copy, original, damaged)
    with pytest.raises(DamagedState, match=r"cannot be trusted: what it stored from byte 0 on") as refused:
        JournalStore(copy, cap=CAP)
    assert refused.value.exit_code == 5
    assert segment_of(copy).read_bytes() == damaged


def test_stale_bytes_behind_the_end(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """What earlier appends left behind the end is no batch, not even a whole batch of another place or journal."""
    whole, first, _ = two_batches
    with closing(JournalStore(copy.with_name("other.sqlite"), cap=CAP)) as other:
        other.bind(IDENTITY)
        add(other, 9)
        foreign = segment_of(other.path).read_bytes()
    for stale in (b"x" * 5_000, whole[:first], whole[first:], foreign, whole[first : first + 90] + foreign):
        assert found_in(with_segment(copy, original, whole + stale)) == ([1, 2, 3], {"things": 3}, "3")
    assert found_in(with_segment(copy, original, foreign)) == ([], {}, None)


def test_longer_stale_batch_under_a_shorter_one(
    copy: Path, original: Path, two_batches: tuple[bytes, int, int]
) -> None:
    """A batch that takes the place of a longer torn one is whole, and the rest of the other is not read."""
    whole, _, _ = two_batches
    torn = with_segment(copy, original, whole[:-1])
    with closing(JournalStore(torn, cap=CAP, compression="none")) as store:
        add(store, 2)
        again = killed(store, copy.with_name("again.sqlite"))
    assert segment_of(again).stat().st_size == len(whole) - 1
    assert found_in(again) == ([1, 2], {"things": 2}, "2")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("torn", [False, True])
def test_failing_append_before_a_kill(path: Path, copy: Path, error: int, torn: bool) -> None:
    """Whichever disk call of a commit fails before a kill, the batch is there as a whole or not, and all others are."""
    number, has_failed = 0, True
    while has_failed:
        number += 1
        has_failed = False
        path.unlink(missing_ok=True)
        segment_of(path).unlink(missing_ok=True)
        with closing(JournalStore(path, cap=CAP, compression="none")) as store:
            store.bind(IDENTITY)
            add(store, 1)
            with counted(fail_at(number, error, lasting=False, torn=torn)):
                try:
                    add(store, 2, 3)
                except LocalFailure:
                    has_failed = True
            killed(store, copy)
        found = found_in(copy)
        # The call that syncs is the last one; what it failed to sync may be found all the same.
        assert found in [([1], {"things": 1}, "1"), ([1, 2, 3], {"things": 3}, "3")]
        assert has_failed or found[0] == [1, 2, 3]
    # Two bodies, rows, header and sync.
    assert number == 6


def test_recovered_batches_are_written_again(
    copy: Path, two_batches: tuple[bytes, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that an earlier run left are written and synced again before their rows are stored.

    After a sync that failed, the system may hold them in memory only, and take them for synced.
    """
    whole, _, _ = two_batches
    calls: list[object] = []
    write, sync = os.pwrite, os.fdatasync

    def pwrite(file: int, content: bytes, at: int) -> int:
        calls.append((bytes(content), at))
        return write(file, content, at)

    def fdatasync(file: int) -> None:
        calls.append(rows_in(copy))
        sync(file)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    JournalStore(copy, cap=CAP).close()
    assert calls == [(whole, 0), 0]
    assert rows_in(copy) == 3


def test_full_disk_in_recovery(copy: Path, original: Path, two_batches: tuple[bytes, int, int]) -> None:
    """If any disk call of a recovery fails, the next one has everything."""
    number, has_failed = 0, True
    while has_failed:
        number += 1
        has_failed = False
        with_segment(copy, original, two_batches[0])
        with counted(fail_at(number, errno.ENOSPC, lasting=False)):
            try:
                JournalStore(copy, cap=CAP).close()
            except LocalFailure:
                has_failed = True
        assert found_in(copy) == ([1, 2, 3], {"things": 3}, "3")
    assert number > 3


def test_many_rows_enter_the_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait in memory up to a bound."""
    monkeypatch.setattr(batched, "_MOST_WAITING", 3)
    with closing(JournalStore(path, cap=CAP)) as store:
        for page in range(1, 8):
            add(store, page)
        assert rows_in(path) == 6


def test_pages_are_there_before_their_rows(path: Path, copy: Path) -> None:
    """Pages and facts read back while their rows wait, each as it was stored last; other facts overtake none."""
    with closing(JournalStore(path, cap=CAP)) as store:
        store.bind(IDENTITY)
        add(store, 1)
        store.add_pages([stored_page(1, b'{"data":[]}')], {}, {"last": "again"})
        assert store.body(PageKey("things", 0, 1)) == b'{"data":[]}'
        assert store.fact("last") == "again"
        assert rows_in(path) == 0
        store.put_fact("last", "other")
        assert rows_in(path) == 1
        killed(store, copy)
        assert (store.fact("last"), store.requests()) == ("other", {"things": 1})
    with closing(JournalStore(copy, cap=CAP)) as store:
        assert store.fact("last") == "other"
        assert store.body(PageKey("things", 0, 1)) == b'{"data":[]}'


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM batches",
        "UPDATE batches SET position = position + 1",
        "UPDATE batches SET number = 'x'",
        "UPDATE batches SET digest = 'xy'",
        "INSERT INTO batches SELECT 'other', position, number, digest, sum FROM batches",
    ],
)
def test_edited_tip_is_refused(complete: Path, path: Path, change: str) -> None:
    """A journal whose end was edited is refused, and its segment stays as it is."""
    shutil.copy(complete, path)
    shutil.copy(segment_of(complete), segment_of(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(DamagedState, match="does not say where its pages are"):
        JournalStore(path, cap=CAP)
    assert segment_of(path).read_bytes() == segment_of(complete).read_bytes()


def test_segment_shorter_than_the_tip(complete: Path, path: Path) -> None:
    """A segment that lost bytes of a commit whose rows are in the database is damaged, and stays as it is."""
    shutil.copy(complete, path)
    whole = segment_of(complete).read_bytes()
    for size in range(0, len(whole), 20):
        segment_of(path).write_bytes(whole[:size])
        with pytest.raises(DamagedState, match=r"journal\.pages, which holds its pages, is cut short"):
            JournalStore(path, cap=CAP)
        assert segment_of(path).read_bytes() == whole[:size]


FORGED: list[Callable[[list[object]], None]] = [
    lambda row: row.__setitem__(9, 0),
    lambda row: row.__setitem__(10, 1 << 40),
    lambda row: row.__setitem__(2, "1"),
    lambda row: row.append(0),
    lambda row: row.clear(),
]


@pytest.mark.parametrize("forge", FORGED)
def test_forged_rows_are_refused(path: Path, copy: Path, forge: Callable[[list[object]], None]) -> None:
    """Rows in a batch that this program never wrote are refused, although their digest is right."""
    with closing(JournalStore(path, cap=CAP)) as store:
        original = batched.Batch.text

        def text(batch: batched.Batch) -> bytes:
            rows = [list(row) for row in batch.pages]
            forge(rows[0])
            return original(batched.Batch(rows, batch.requests, batch.facts))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batched.Batch, "text", text)
            add(store, 1)
        killed(store, copy)
    with pytest.raises(DamagedState, match="what it stored at byte 0"):
        JournalStore(copy, cap=CAP)


def test_format_4_is_finished(path: Path, older: Path) -> None:
    """A journal of format 4 stays one, and each commit has its rows in the database."""
    shutil.copy(older, path)
    shutil.copy(segment_of(older), segment_of(path))
    with closing(JournalStore(path, cap=CAP)) as store:
        assert store.bind(IDENTITY)
        add(store, 3)
        assert rows_in(path) == 3
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (layout.SEGMENT_VERSION,)
