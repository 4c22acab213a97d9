"""A journal that was edited is noticed, whichever field of whichever row it was, and costs no memory."""

from __future__ import annotations

import contextlib
import gzip
import shutil
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
from bulk_export.extract.journal import JournalStore, PagePrints, Part, PartFile, StoredPage, file, layout

CAP = 1 << 20
BODY = b'{"data":[{"id":"a"},{"id":"b"}]}'
IDENTITY = {"service": "things", "endpoints": ["things"], "version": "1"}
# All columns of all tables; the body of a page is not among those that stand before the sum.
FIELDS = [*((table, name) for table, names in layout.COLUMNS.items() for name in names), ("pages", "body")]
# In every affinity that SQLite has, within bounds and out of them.
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=40)
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a row or two in each table."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    store = JournalStore(path, cap=CAP)
    store.claim(IDENTITY)
    pages = [StoredPage(PageKey("things", 0, page), 2, "identity", len(BODY), BODY, (1, 2)) for page in (1, 2)]
    store.add_pages(pages, {"things": 3}, {"retries": "1", "started_at": "2024-05-01T00:00:00Z"})
    store.add_page_fingerprints("things", 0, [PagePrints(1, b"12345678", b"87654321")])
    part = PartFile("things/part-00000.parquet", 4, 99, "ab" * 32)
    store.add_part(Part("things", 0, 0, 2, 4, (part,), {}, b"12345678" * 4))
    store.close()
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
        store.claim(IDENTITY)
    finally:
        store.close()


@given(field=st.sampled_from(FIELDS), value=VALUES)
@hypothesis_settings(max_examples=80, deadline=None)
def test_no_field_of_no_row_can_be_edited_unnoticed(
    whole: Path, path: Path, field: tuple[str, str], value: object
) -> None:
    table, column = field
    shutil.copy(whole, path)
    try:
        changed = edit(path, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} IS NOT ?", (value, value))
        stored = sqlite3.connect(path)
        differs = stored.execute(f"SELECT count(*) FROM {table} WHERE {column} IS ?", (value,)).fetchone()[0]
        stored.close()
    except sqlite3.IntegrityError:
        return
    if not (changed and differs):
        return
    with pytest.raises((DamagedState, UsageError)):
        resume(path)


@given(field=st.sampled_from(FIELDS), value=VALUES)
@hypothesis_settings(max_examples=50, deadline=None)
def test_a_field_that_was_edited_with_its_sum_is_taken_as_it_is_or_refused_and_nothing_else(
    whole: Path, path: Path, field: tuple[str, str], value: object
) -> None:
    table, column = field
    shutil.copy(whole, path)
    connection = sqlite3.connect(path)
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
        resume(path)
        with contextlib.closing(JournalStore(path, cap=CAP)) as store:
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
def test_a_journal_that_holds_less_or_other_things_than_one_is_refused(
    whole: Path, path: Path, statement: str, said: str
) -> None:
    shutil.copy(whole, path)
    edit(path, statement)
    with pytest.raises(DamagedState, match=said):
        resume(path)


def bomb(path: Path, encoding: str, size: int, stored: bytes) -> None:
    """A page with right sums that would take far more memory than it says or may."""
    header = ("things", 0, 1, 2, 1, 2, encoding, size, zlib.crc32(stored))
    edit(
        path,
        "UPDATE pages SET encoding = ?, size = ?, crc = ?, body = ?, sum = ? WHERE page = 1",
        (encoding, size, zlib.crc32(stored), stored, layout.row_sum("pages", header)),
    )


@pytest.mark.parametrize("announced", [1 << 32, 1 << 20, 40])
@pytest.mark.parametrize("encoding", ["lz4", "gzip"])
def test_what_would_outgrow_memory_is_not_unpacked(whole: Path, path: Path, encoding: str, announced: int) -> None:
    zeros = bytes(16 << 20)
    packed = gzip.compress(zeros) if encoding == "gzip" else pa.Codec("lz4").compress(zeros, asbytes=True)
    del zeros
    shutil.copy(whole, path)
    bomb(path, encoding, announced, packed)
    before = pa.total_allocated_bytes()
    with contextlib.closing(JournalStore(path, cap=CAP)) as store, pytest.raises(DamagedState, match="page 1 of"):
        store.body(PageKey("things", 0, 1))
    assert pa.total_allocated_bytes() - before <= 4 * CAP


def test_a_value_larger_than_anything_we_write_is_not_read(
    whole: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_LARGEST_VALUE", CAP)
    shutil.copy(whole, path)
    edit(path, f"UPDATE facts SET value = zeroblob({4 * CAP + 1}) WHERE name = 'retries'")
    with pytest.raises(DamagedState, match="too big"):
        resume(path)


def test_pages_of_another_version_are_taken_over_and_what_it_made_of_them_is_made_again(
    whole: Path, path: Path
) -> None:
    shutil.copy(whole, path)
    store = JournalStore(path, cap=CAP)
    store.put_fact("revision/things", "[[], [], [0, 0, 0, 0, 0, false]]")
    assert store.claim({**IDENTITY, "version": "2"}) is True
    assert store.parts("things", 0) == []
    assert list(store.page_fingerprints("things", 0)) == []
    assert store.fact("revision/things") is None
    assert store.body(PageKey("things", 0, 2)) == BODY
    assert store.claim({**IDENTITY, "version": "2"}) is True
    store.close()


def test_what_another_version_asked_for_is_not_gone_on_with_but_the_way_is_told(whole: Path, path: Path) -> None:
    shutil.copy(whole, path)
    store = JournalStore(path, cap=CAP)
    with pytest.raises(UsageError, match="described in another way") as described:
        store.claim({**IDENTITY, "description": "0123"})
    with pytest.raises(UsageError, match="new is known to one of the two versions") as renewed:
        store.claim({**IDENTITY, "version": "2", "new": 5})
    for refused in (described, renewed):
        assert "the version it was started with (1;" in refused.value.next_step
    store.close()
