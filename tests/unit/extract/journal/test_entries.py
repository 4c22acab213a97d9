"""An edited journal is noticed, whichever field of whichever row it was, and costs no memory."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, UsageError
from bulk_export.extract.journal import JournalStore, file, layout
from bulk_export.extract.journal.segment import segment_of
from tests.support.journals import CAP, IDENTITY, copy_journal

# All columns of all tables.
FIELDS = [(table, name) for table, names in layout.COLUMNS.items() for name in names]


# In every affinity that SQLite has, within bounds and out of them.
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=40)
)


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a copy of the journal is edited."""
    return tmp_path_factory.mktemp("edited") / "journal.sqlite"


def edit(path: Path, statement: str, values: tuple[Any, ...] = ()) -> int:
    """Change a journal behind its back; how many rows that were."""
    connection = sqlite3.connect(path)
    try:
        changed = connection.execute(statement, values).rowcount
        connection.commit()
    finally:
        connection.close()
    return changed


def resume(path: Path) -> None:
    """Everything that a run reads of a journal before it sends a request."""
    store = JournalStore(path, cap=CAP)
    try:
        store.bind(IDENTITY)
    finally:
        store.close()


def bomb(path: Path, encoding: str, size: int, stored: bytes) -> None:
    """A page with right sums that would take far more memory than it says or may."""
    position = segment_of(path).stat().st_size
    with segment_of(path).open("ab") as segment:
        segment.write(stored)
    described = (encoding, size, zlib.crc32(stored), position, len(stored))
    edit(
        path,
        "UPDATE pages SET encoding = ?, size = ?, crc = ?, position = ?, stored_size = ?, sum = ? WHERE page = 1",
        (*described, layout.row_sum("pages", ("things", 0, 1, 2, 1, 2, *described))),
    )
    with contextlib.closing(sqlite3.connect(path)) as connection:
        ((token, _, *others, _),) = connection.execute("SELECT * FROM batches").fetchall()
    row = (token, position + len(stored), *others)
    edit(path, "UPDATE batches SET position = ?, sum = ?", (row[1], layout.row_sum("batches", row)))


@given(field=st.sampled_from(FIELDS), value=VALUES)
@hypothesis_settings(max_examples=80, deadline=None)
def test_any_edit_is_noticed(complete: Path, edited: Path, field: tuple[str, str], value: object) -> None:
    """No field of any row can be edited unnoticed."""
    table, column = field
    copy_journal(complete, edited)
    try:
        changed = edit(edited, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} IS NOT ?", (value, value))
        stored = sqlite3.connect(edited)
        differs = stored.execute(f"SELECT count(*) FROM {table} WHERE {column} IS ?", (value,)).fetchone()[0]
        stored.close()
    except sqlite3.IntegrityError:
        return
    if not (changed and differs):
        return
    with pytest.raises((DamagedState, UsageError)):
        resume(edited)


@given(field=st.sampled_from(FIELDS), value=VALUES)
@hypothesis_settings(max_examples=50, deadline=None)
def test_edit_with_matching_sum(complete: Path, edited: Path, field: tuple[str, str], value: object) -> None:
    """A field that was edited together with its sum is taken as it is or refused, never anything else."""
    table, column = field
    copy_journal(complete, edited)
    connection = sqlite3.connect(edited)
    try:
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
        names = layout.COLUMNS[table]
        for row in connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall():
            same = " AND ".join(f"{name} IS ?" for name in names)
            connection.execute(f"UPDATE {table} SET sum = ? WHERE {same}", (layout.row_sum(table, row), *row))
        connection.commit()
    except sqlite3.IntegrityError:
        return
    finally:
        connection.close()
    with contextlib.suppress(DamagedState, UsageError):
        resume(edited)
        with contextlib.closing(JournalStore(edited, cap=CAP)) as store:
            for page, _ in store.page_counts("things", 0):
                store.body(PageKey("things", 0, page))
            list(store.edges("things", 0))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM facts WHERE name = 'identity'", "does not say what its pages are of"),
        ("CREATE TABLE mine (x)", "other tables than a journal"),
        ("CREATE TRIGGER t AFTER INSERT ON pages BEGIN DELETE FROM facts; END", "other tables"),
        ("CREATE VIEW v AS SELECT * FROM facts", "other tables"),
    ],
)
def test_missing_or_foreign_content_is_refused(complete: Path, edited: Path, statement: str, said: str) -> None:
    """A journal without its identity, or with other tables, triggers or views, is refused."""
    copy_journal(complete, edited)
    edit(edited, statement)
    with pytest.raises(DamagedState, match=said):
        resume(edited)


@pytest.mark.parametrize("announced", [1 << 32, 1 << 20, 40])
@pytest.mark.parametrize("encoding", ["lz4", "gzip"])
def test_decompression_bomb_is_refused(complete: Path, edited: Path, encoding: str, announced: int) -> None:
    """A body that would outgrow memory is not decompressed."""
    zeros = bytes(16 << 20)
    packed = gzip.compress(zeros) if encoding == "gzip" else pa.Codec("lz4").compress(zeros, asbytes=True)
    del zeros
    copy_journal(complete, edited)
    bomb(edited, encoding, announced, packed)
    before = pa.total_allocated_bytes()
    with contextlib.closing(JournalStore(edited, cap=CAP)) as store, pytest.raises(DamagedState, match="page 1 of"):
        store.body(PageKey("things", 0, 1))
    assert pa.total_allocated_bytes() - before <= 4 * CAP


def test_oversized_value_is_not_read(complete: Path, edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value larger than any that is written is not read."""
    monkeypatch.setattr(file, "_LARGEST_VALUE", CAP)
    copy_journal(complete, edited)
    edit(edited, f"UPDATE facts SET value = zeroblob({4 * CAP + 1}) WHERE name = 'retries'")
    with pytest.raises(DamagedState, match="too big"):
        resume(edited)
