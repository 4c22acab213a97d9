"""The journal file: what it keeps, and what it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.extract.journal import JournalStore, Part, PartFile
from tests.support.journals import CAP, stored_page


@pytest.mark.parametrize("gzip", [False, True])
def test_a_page_reads_back_as_it_arrived_after_reopening(path: Path, gzip: bool) -> None:
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


def test_what_was_committed_is_there_without_closing(path: Path, tmp_path: Path) -> None:
    store = JournalStore(path, cap=CAP)
    store.add_pages([stored_page(1)], {}, {})
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"copy{suffix}")
    store.close()
    copy = JournalStore(tmp_path / "copy", cap=CAP)
    assert copy.page_counts("things", 0) == [(1, 1)]
    copy.close()


@pytest.mark.parametrize("keep", [0, 31, 32, 500, 5_000])
def test_a_torn_log_loses_at_most_the_last_commits(path: Path, tmp_path: Path, keep: int) -> None:
    store = JournalStore(path, cap=CAP)
    for page in range(1, 6):
        store.add_pages([stored_page(page)], {}, {})
    copy = tmp_path / "torn"
    shutil.copy(path, copy)
    whole = Path(f"{path}-wal").read_bytes()
    Path(f"{copy}-wal").write_bytes(whole[: len(whole) - keep])
    store.close()
    torn = JournalStore(copy, cap=CAP)
    pages = [page for page, _ in torn.page_counts("things", 0)]
    assert pages == list(range(1, len(pages) + 1))
    assert len(pages) >= 4 if keep < 4_096 else len(pages) >= 3
    torn.close()


def test_the_file_and_its_log_are_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        store = JournalStore(path, cap=CAP)
        store.add_pages([stored_page(1)], {}, {})
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}


def test_the_same_export_may_go_on_and_another_is_refused_with_what_differs(path: Path) -> None:
    store = JournalStore(path, cap=CAP)
    assert store.bind({"service": "npq", "page_size": 300}) is False
    assert store.bind({"page_size": 300, "service": "npq"}) is True
    with pytest.raises(UsageError, match="page_size was 300, now 100") as refused:
        store.bind({"service": "npq", "page_size": 100})
    assert "service" not in refused.value.what.split("parameters:")[1]
    store.close()


def test_a_bit_flipped_in_a_body_is_noticed(path: Path) -> None:
    store = JournalStore(path, cap=CAP)
    body = b'{"data":[' + b",".join(b'{"id":"%d"}' % number for number in range(2_000)) + b"]}"
    store.add_pages([stored_page(1, body)], {}, {})
    store.close()
    connection = sqlite3.connect(path)
    (content,) = connection.execute("SELECT body FROM pages").fetchone()
    flipped = bytes([*content[:100], content[100] ^ 1, *content[101:]])
    connection.execute("UPDATE pages SET body = ?", (flipped,))
    connection.commit()
    connection.close()
    store = JournalStore(path, cap=CAP)
    with pytest.raises(DamagedState, match="page 1 of things is not as it was stored"):
        store.body(PageKey("things", 0, 1))
    store.close()


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()


def newer_journal(path: Path) -> None:
    JournalStore(path, cap=CAP).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def torn_file(path: Path) -> None:
    store = JournalStore(path, cap=CAP)
    store.add_pages([stored_page(number, os.urandom(50_000)) for number in range(1, 9)], {}, {})
    store.close()
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"not a database at all" * 1_000), "not a database"),
        (foreign_database, "not a journal"),
        (newer_journal, "another version"),
        (torn_file, "malformed|broken"),
    ],
)
def test_a_file_that_is_no_sound_journal_is_refused_and_left_alone(
    path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    damage(path)
    before = path.read_bytes()
    with pytest.raises(DamagedState, match=reason) as refused:
        JournalStore(path, cap=CAP)
    assert "Nothing was deleted." in refused.value.kept
    assert path.read_bytes() == before


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFailure):
        JournalStore(path, cap=CAP)
    assert not (tmp_path / "elsewhere").exists()


def test_parts_come_back_in_order_with_their_fingerprints(path: Path) -> None:
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
