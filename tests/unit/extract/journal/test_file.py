"""The file of a journal: private, and refused if it is not sound."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore
from tests.support.journals import CAP, stored_page


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


def test_files_are_private(path: Path) -> None:
    """The file and its log are private whatever the umask is."""
    before = os.umask(0)
    try:
        store = JournalStore(path, cap=CAP)
        store.add_pages([stored_page(1)], {}, {})
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
        store.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"not a database at all" * 1_000), "not a database"),
        (foreign_database, "not a journal"),
        (newer_journal, "another version"),
        (torn_file, "malformed|broken"),
    ],
)
def test_unsound_file_is_refused(path: Path, damage: Callable[[Path], object], reason: str) -> None:
    """A file that is no sound journal, or of a newer format, is refused and left as it is."""
    damage(path)
    before = path.read_bytes()
    with pytest.raises(DamagedState, match=reason) as refused:
        JournalStore(path, cap=CAP)
    assert "Nothing was deleted." in refused.value.kept
    assert path.read_bytes() == before


def test_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalFailure):
        JournalStore(path, cap=CAP)
    assert not (tmp_path / "elsewhere").exists()
