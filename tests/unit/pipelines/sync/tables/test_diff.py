"""What is inserted, updated and removed, by comparing every value."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import DamagedState
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.diff import TableDiff
from tests.support.table_rows import COPIED, FETCHED, HOUR, NOON, NULLABLE, Compared, record, request, row, write


def test_the_first_poll_inserts_everything(tmp_path: Path) -> None:
    it = Compared(tmp_path, [record("a"), record("b")], None)
    assert it.counts == Counts(fetched=2, inserted=2)
    assert it.changes["a"] == record("a") | {"_synced_at": NOON, "_removed_at": None} == it.merged["a"]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "other"},
        {"type": None},
        {"updated_at": NOON - 2 * HOUR},
        {"people": []},
        {"people": None},
        {"people": [{"email": "a@example.org", "born": datetime(2000, 1, 1).date()}]},  # noqa: DTZ001
        {"share": 0.10000000000000002},
        {"share": float("nan")},
        {"_extra": '{"new": 1}'},
    ],
    ids=str,
)
def test_a_record_is_updated_when_any_value_differs(tmp_path: Path, change: dict[str, Any]) -> None:
    it = Compared(tmp_path, [record("a", **change), record("b")], [row("a"), row("b"), row("c")])
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1)
    wanted = row("a", synced_at=NOON, **change)
    if change.get("share") != change.get("share"):
        assert str(it.changes["a"].pop("share")) == str(wanted.pop("share"))
    assert it.changes == {"a": wanted}
    assert set(it.merged) == {"a", "b", "c"}
    assert it.merged["b"] == row("b")


def test_missing_rows_are_marked_once_and_revived(tmp_path: Path) -> None:
    """A row that a full load lacks is marked, not marked again, and revived when the record is back."""
    gone = row("gone", removed_at=NOON - HOUR)
    back = row("back", removed_at=NOON - HOUR)
    it = Compared(tmp_path, [record("a"), record("back")], [row("a"), row("lost"), gone, back], full=True)
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1, removed=1)
    assert it.changes == {"back": row("back", synced_at=NOON), "lost": row("lost", synced_at=NOON, removed_at=NOON)}
    assert it.merged["gone"] == gone
    assert sorted(it.without_removed) == ["a", "back", "gone"]


def test_a_poll_for_changes_removes_nothing(tmp_path: Path) -> None:
    assert Compared(tmp_path, [], [row("a")]).counts == Counts()


def test_rows_of_later_polls_stay(tmp_path: Path) -> None:
    """An overtaken poll changes and removes no row that a poll wrote which started later."""
    newer = [row("a", synced_at=NOON + HOUR, type="newer"), row("new", synced_at=NOON + HOUR), row("old")]
    it = Compared(tmp_path, [record("a")], newer, full=True, overtaken=True)
    assert it.counts == Counts(fetched=1, unchanged=1, removed=1)
    assert list(it.changes) == ["old"]


def test_a_later_write_stays_only_if_overtaken(tmp_path: Path) -> None:
    """A poll that was not overtaken updates a row whose `_synced_at` is later, as clocks that differ make it."""
    assert Compared(tmp_path, [record("a")], [row("a", synced_at=NOON + HOUR, type="older")]).counts.updated == 1


def test_a_new_member_widens_the_column(tmp_path: Path) -> None:
    """Rows that were not fetched keep their values, with a null for the new member."""
    wider = pa.list_(pa.struct([("email", pa.string()), ("born", pa.date32()), ("rank", pa.int64())]))
    fetched_schema = FETCHED.set(FETCHED.get_field_index("people"), pa.field("people", wider))
    people = [{"email": "a@example.org", "born": None, "rank": 7}]
    same = [{"email": "b@example.org", "born": None, "rank": None}]
    it = Compared(
        tmp_path,
        [record("a", people=people), record("b", people=same)],
        [row("a"), row("b"), row("lost"), row("kept", removed_at=NOON)],
        full=True,
        fetched_schema=fetched_schema,
    )
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1, removed=1)
    assert it.schema.field("people").type == wider
    assert it.merged["a"]["people"] == people
    assert it.merged["b"]["people"] == same
    assert it.merged["lost"]["people"] == [{"email": "lost@example.org", "born": None, "rank": None}]
    assert it.merged["kept"]["people"] == [{"email": "kept@example.org", "born": None, "rank": None}]


def test_a_new_column_is_null_in_other_rows(tmp_path: Path) -> None:
    """A column that is new in the load is null in rows that were not fetched."""
    it = Compared(
        tmp_path,
        [record("a", new=True)],
        [row("a"), row("b")],
        fetched_schema=FETCHED.append(pa.field("new", pa.bool_())),
    )
    assert it.counts == Counts(fetched=1, updated=1)
    assert (it.merged["a"]["new"], it.merged["b"]["new"]) == (True, None)


def test_a_column_not_fetched_counts_as_null(tmp_path: Path) -> None:
    less = FETCHED.remove(FETCHED.get_field_index("people"))
    it = Compared(tmp_path, [record("a")], [row("a"), row("b")], fetched_schema=less)
    assert it.counts == Counts(fetched=1, updated=1)
    assert (it.merged["a"]["people"], it.merged["b"]["people"]) == (None, row("b")["people"])


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    """The error does not quote the contents of the file."""
    (tmp_path / "torn.parquet").write_bytes(b"secret@example.org")
    with pytest.raises(DamagedState, match="cannot be compared") as failure:
        TableDiff(request([tmp_path / "torn.parquet"], [], None, scratch=tmp_path))
    assert "secret" not in str(failure.value.lines())
    whole = write(tmp_path / "whole.parquet", [record("a")], FETCHED)
    with pytest.raises(DamagedState, match=r"torn\.parquet cannot be read") as failure:
        TableDiff(request([whole], [tmp_path / "torn.parquet"], COPIED, scratch=tmp_path))
    assert f"remove {tmp_path}" in str(failure.value)


def types(rows: list[Any]) -> list[tuple[Any, str, bool]]:
    return sorted(((one["id"], one["type"], one["_removed_at"] is not None) for one in rows), key=str)


def test_rows_without_a_unique_key_match_by_content(tmp_path: Path) -> None:
    """Records that share an id, or have none, are all kept, and matched by their whole content."""
    fetched = [
        record("a", type="mentor"),
        record("a", type="ect"),
        record("b"),
        *(record(None, type=name) for name in "xxy"),
    ]
    first = Compared(tmp_path, fetched, None, fetched_schema=NULLABLE)
    assert first.counts == Counts(fetched=6, inserted=6)
    assert len(first.all) == 6
    copied = [one | {"_synced_at": NOON - HOUR} for one in first.all]
    again = Compared(tmp_path, fetched, copied, fetched_schema=NULLABLE, full=True)
    assert again.counts == Counts(fetched=6, unchanged=6)
    assert again.is_by_key

    # One of each kind changes, one goes: in a poll for changes nothing is overwritten that may be another record.
    changed = [record("a", type="lead"), record(None, type="z")]
    part = Compared(tmp_path, changed, copied, fetched_schema=NULLABLE)
    assert (part.counts, part.is_by_key) == (Counts(fetched=2, inserted=2), False)
    assert len(part.all) == 8
    whole = [record("a", type="mentor"), record("a", type="lead"), record("b"), record(None, type="x")]
    full = Compared(tmp_path, whole, part.all, fetched_schema=NULLABLE, full=True)
    assert full.counts == Counts(fetched=4, unchanged=4, removed=4)
    assert types(full.left) == types([one | {"_removed_at": None} for one in whole])
    assert len(full.all) == 8


def test_an_empty_id_identifies_nothing(tmp_path: Path) -> None:
    """An empty text, which a null id is read as, matches no other row."""
    copied = [row("", type="one"), row("b")]
    changes = Compared(tmp_path, [record("", type="other")], copied)
    assert (changes.counts, changes.is_by_key) == (Counts(fetched=1, inserted=1), False)
    assert types(changes.all) == [("", "one", False), ("", "other", False), ("b", "t", False)]
    whole = Compared(tmp_path, [record("", type="other"), record("b")], copied, full=True)
    assert types(whole.all) == [("", "one", True), ("", "other", False), ("b", "t", False)]


def test_a_marked_row_with_the_same_id_stays(tmp_path: Path) -> None:
    """A live row is updated; a row that was marked as removed under the same id is left alone."""
    copied = [row("a", removed_at=NOON - HOUR, type="old"), row("a", type="there"), row("b")]
    it = Compared(tmp_path, [record("a", type="new"), record("b")], copied, full=True)
    assert (it.counts, it.is_by_key) == (Counts(fetched=2, updated=1, unchanged=1), False)
    assert types(it.all) == [("a", "new", False), ("a", "old", True), ("b", "t", False)]


def test_a_key_may_have_several_columns(tmp_path: Path) -> None:
    """Members of objects may be part of the key."""
    key = (("id",), ("place", "number"))
    place = pa.struct([("number", pa.int64()), ("name", pa.string())])
    fetched_schema = FETCHED.append(pa.field("place", place))
    rows = [record("a", place={"number": number, "name": "x"}) for number in (1, 2)]
    first = Compared(tmp_path, rows, None, fetched_schema=fetched_schema, key=key)
    copied = pa.Table.from_pylist(first.all, schema=first.schema)
    pq.write_table(copied, tmp_path / "copied.parquet")
    rows[1]["place"]["name"] = "y"
    fetched = write(tmp_path / "f.parquet", rows[1:], fetched_schema)
    diff = TableDiff(request([fetched], [tmp_path / "copied.parquet"], first.schema, scratch=tmp_path, key=key))
    assert (diff.counts, diff.is_by_key) == (Counts(fetched=1, updated=1), True)
    names = [one["place"]["name"] for one in diff.table_rows(delete_removed=False).read_all().to_pylist()]
    diff.close()
    assert sorted(names) == ["x", "y"]


def test_records_of_both_loads_exist(tmp_path: Path) -> None:
    """Records that only the first load showed exist; of those that both showed, the latest form counts."""
    earlier = [record("a", type="first"), record("only earlier"), record("twice"), record("twice", type="2")]
    it = Compared(
        tmp_path,
        [record("a", type="second"), record("twice")],
        [row("a"), row("only earlier"), row("gone"), row("twice")],
        full=True,
        earlier=earlier,
    )
    assert it.counts == Counts(fetched=4, inserted=1, updated=1, unchanged=2, removed=1)
    assert [one["type"] for one in it.all if one["id"] == "a"] == ["second"]
    assert sorted(one["type"] for one in it.all if one["id"] == "twice") == ["2", "t"]


def test_only_a_full_load_deletes_marked_rows(tmp_path: Path) -> None:
    """Rows that were marked before are deleted by a full load of a copy that deletes, and by no other."""
    copied = [row("a"), row("gone", removed_at=NOON - HOUR), row("back", removed_at=NOON - HOUR)]
    fetched = [record("a"), record("back")]
    it = Compared(tmp_path, fetched, copied, full=True, deletes_marked=True)
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1, deleted=1)
    assert types(it.left) == [("a", "t", False), ("back", "t", False)]
    assert Compared(tmp_path, fetched, copied, deletes_marked=True).counts.deleted == 0
    shared = [*copied, row("b"), row("b", type="2"), row("b", type="3", removed_at=NOON - HOUR)]
    it = Compared(tmp_path, [*fetched, record("b"), record("b", type="2")], shared, full=True, deletes_marked=True)
    assert (it.counts.deleted, it.counts.removed, len(it.left), it.is_by_key) == (2, 0, 4, False)


def test_discarded_removals_keep_all_missing_rows(tmp_path: Path) -> None:
    """Inserts and updates are still made; neither removals nor deletions are."""
    marked = [row(name, removed_at=NOON - HOUR, type="marked") for name in ("gone", "b")]
    copied = [row("a"), row("lost"), row("b"), row("b", type="2"), *marked]
    fetched = write(tmp_path / "f.parquet", [record("a", type="new"), record("b")], FETCHED)
    current = write(tmp_path / "c.parquet", copied, COPIED)
    diff = TableDiff(
        request([fetched], [current], COPIED, detects_removals=True, scratch=tmp_path, deletes_marked=True)
    )
    assert (diff.counts.removed, diff.counts.deleted, diff.live_rows) == (2, 2, 4)
    diff.discard_removals()
    rows = diff.table_rows(delete_removed=True).read_all().to_pylist()
    changes = diff.changed_rows().read_all().to_pylist()
    diff.close()
    assert diff.counts == Counts(fetched=2, updated=1, unchanged=1)
    assert types(rows) == [
        ("a", "new", False),
        ("b", "2", False),
        ("b", "marked", True),
        ("b", "t", False),
        ("gone", "marked", True),
        ("lost", "t", False),
    ]
    assert [one["id"] for one in changes] == ["a"]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("xyz")), max_size=6),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("xyz")), max_size=6),
)
@settings(max_examples=8, deadline=None)
def test_after_a_full_load_rows_equal_records(before: list[tuple[Any, str]], after: list[tuple[Any, str]]) -> None:
    """However ids repeat or are missing, the live rows are the records that were fetched."""
    with TemporaryDirectory() as directory:
        scratch = Path(directory)
        copied = [row(identity, type=name) for identity, name in before]
        fetched = [record(identity, type=name) for identity, name in after]
        it = Compared(scratch, fetched, copied, fetched_schema=NULLABLE, full=True)
    assert sorted(((one["id"], one["type"]) for one in it.left), key=str) == sorted(after, key=str)
    assert it.counts.fetched == it.counts.inserted + it.counts.updated + it.counts.unchanged == len(after)
    assert len(it.all) == len(it.left) + it.counts.removed
    assert len(before) + it.counts.inserted == len(it.all)


def test_an_attribute_may_have_any_name(tmp_path: Path) -> None:
    names = [
        "/change",
        "record",
        "change",
        "row",
        "k0",
        "n",
        "a`b",
        'a"b',
        "a.b",
        "a b",
        "ü",
        "c",
        "x.record",
        "copied",
        "latest",
        "loaded",
        "shown",
    ]
    fetched_schema = pa.schema([*FETCHED, *((name, pa.string()) for name in names)])
    of = dict.fromkeys(names, "1")
    it = Compared(tmp_path, [record("a", **of)], None, fetched_schema=fetched_schema)
    assert it.all == [row("a", synced_at=NOON, **of)]
    shared = [record("a", **of), record("a", **of | {"n": "2"}), record("a", **of)]
    it = Compared(tmp_path, shared, None, fetched_schema=fetched_schema)
    assert (it.counts, len(it.all)) == (Counts(fetched=3, inserted=3), 3)


def test_columns_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedState, match="'id' and 'ID'"):
        Compared(tmp_path, [record("a", ID="b")], None, fetched_schema=FETCHED.append(pa.field("ID", pa.string())))
