"""What is inserted, updated and removed, by comparing every value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import DamagedState
from bulk_export.pipelines.sync.diff import Counts, TableDiff

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = pa.timestamp("us", "UTC")
PEOPLE = pa.list_(pa.struct([("email", pa.string()), ("born", pa.date32())]))
FETCHED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("type", pa.string()),
        ("updated_at", INSTANT),
        ("people", PEOPLE),
        ("share", pa.float64()),
        ("_extra", pa.string()),
    ]
)
COPIED = pa.schema([*FETCHED.set(0, pa.field("id", pa.string())), ("_synced_at", INSTANT), ("_removed_at", INSTANT)])


def record(identity: str, **changes: Any) -> dict[str, Any]:
    people = [{"email": f"{identity}@example.org", "born": None}]
    return {"id": identity, "type": "t", "updated_at": NOON, "people": people, "share": 0.1, "_extra": None} | changes


def row(identity: str, *, synced_at: datetime = NOON - HOUR, removed_at: datetime | None = None, **changes: Any) -> Any:
    return record(identity, **changes) | {"_synced_at": synced_at, "_removed_at": removed_at}


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


class Compared:
    def __init__(
        self,
        room: Path,
        fetched: list[Any],
        copied: list[Any] | None,
        *,
        full: bool = False,
        overtaken: bool = False,
        fetched_schema: pa.Schema = FETCHED,
        earlier: list[Any] | None = None,
        **chosen: Any,
    ) -> None:
        files = [write(room / "fetched's.parquet", fetched, fetched_schema)]
        current = [] if copied is None else [write(room / "current [1].parquet", copied, COPIED)]
        difference = TableDiff(
            files,
            current,
            None if copied is None else COPIED,
            started_at=NOON,
            finds_removed=full,
            is_overtaken=overtaken,
            scratch=room,
            earlier=[] if earlier is None else [write(room / "earlier.parquet", earlier, fetched_schema)],
            **chosen,
        )
        self.counts = difference.counts
        self.is_by_key = difference.is_by_key
        self.all = difference.merged(delete_removed=False).read_all().to_pylist()
        self.left = difference.merged(delete_removed=True).read_all().to_pylist()
        self.schema = difference.schema
        self.changes = {one["id"]: one for one in difference.changes().read_all().to_pylist()}
        self.merged = {one["id"]: one for one in difference.merged(delete_removed=False).read_all().to_pylist()}
        self.without_removed = difference.merged(delete_removed=True).read_all()["id"].to_pylist()
        difference.close()
        assert not (room / "changes.parquet").exists()


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


def test_what_a_full_sync_did_not_see_is_removed_once_and_seen_again_revived(tmp_path: Path) -> None:
    gone = row("gone", removed_at=NOON - HOUR)
    back = row("back", removed_at=NOON - HOUR)
    it = Compared(tmp_path, [record("a"), record("back")], [row("a"), row("lost"), gone, back], full=True)
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1, removed=1)
    assert it.changes == {"back": row("back", synced_at=NOON), "lost": row("lost", synced_at=NOON, removed_at=NOON)}
    assert it.merged["gone"] == gone
    assert sorted(it.without_removed) == ["a", "back", "gone"]


def test_a_poll_for_changes_removes_nothing(tmp_path: Path) -> None:
    assert Compared(tmp_path, [], [row("a")]).counts == Counts()


def test_what_polls_wrote_that_overtook_this_one_is_newer_and_stays(tmp_path: Path) -> None:
    newer = [row("a", synced_at=NOON + HOUR, type="newer"), row("new", synced_at=NOON + HOUR), row("old")]
    it = Compared(tmp_path, [record("a")], newer, full=True, overtaken=True)
    assert it.counts == Counts(fetched=1, unchanged=1, removed=1)
    assert list(it.changes) == ["old"]


def test_clocks_that_disagree_by_a_little_keep_no_change_out(tmp_path: Path) -> None:
    assert Compared(tmp_path, [record("a")], [row("a", synced_at=NOON + HOUR, type="older")]).counts.updated == 1


def test_a_new_member_widens_the_column_and_rows_that_lack_it_keep_what_they_have(tmp_path: Path) -> None:
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


def test_a_new_column_is_null_in_rows_that_were_not_fetched(tmp_path: Path) -> None:
    it = Compared(
        tmp_path,
        [record("a", new=True)],
        [row("a"), row("b")],
        fetched_schema=FETCHED.append(pa.field("new", pa.bool_())),
    )
    assert it.counts == Counts(fetched=1, updated=1)
    assert (it.merged["a"]["new"], it.merged["b"]["new"]) == (True, None)


def test_a_column_that_was_not_fetched_counts_as_null(tmp_path: Path) -> None:
    less = FETCHED.remove(FETCHED.get_field_index("people"))
    it = Compared(tmp_path, [record("a")], [row("a"), row("b")], fetched_schema=less)
    assert it.counts == Counts(fetched=1, updated=1)
    assert (it.merged["a"]["people"], it.merged["b"]["people"]) == (None, row("b")["people"])


def test_files_that_cannot_be_read_are_told_without_their_contents(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"secret@example.org")
    with pytest.raises(DamagedState, match="cannot be compared") as failure:
        TableDiff(
            [tmp_path / "torn.parquet"],
            [],
            None,
            started_at=NOON,
            finds_removed=False,
            is_overtaken=False,
            scratch=tmp_path,
        )
    assert "secret" not in str(failure.value.lines())


NULLABLE = FETCHED.set(0, pa.field("id", pa.string()))


def types(rows: list[Any]) -> list[tuple[Any, str, bool]]:
    return sorted(((one["id"], one["type"], one["_removed_at"] is not None) for one in rows), key=str)


def test_records_that_share_an_id_or_have_none_are_all_kept_and_matched_by_content(tmp_path: Path) -> None:
    fetched = [
        record("a", type="mentor"),
        record("a", type="ect"),
        record("b"),
        *(record(None, type=name) for name in "xxy"),  # type: ignore[arg-type]
    ]
    first = Compared(tmp_path, fetched, None, fetched_schema=NULLABLE)
    assert first.counts == Counts(fetched=6, inserted=6)
    assert len(first.all) == 6
    copied = [one | {"_synced_at": NOON - HOUR} for one in first.all]
    again = Compared(tmp_path, fetched, copied, fetched_schema=NULLABLE, full=True)
    assert again.counts == Counts(fetched=6, unchanged=6)
    assert again.is_by_key

    # One of each kind changes, one goes: in a poll for changes nothing is overwritten that may be another record.
    changed = [record("a", type="lead"), record(None, type="z")]  # type: ignore[arg-type]
    part = Compared(tmp_path, changed, copied, fetched_schema=NULLABLE)
    assert (part.counts, part.is_by_key) == (Counts(fetched=2, inserted=2), False)
    assert len(part.all) == 8
    whole = [record("a", type="mentor"), record("a", type="lead"), record("b"), record(None, type="x")]  # type: ignore[arg-type]
    full = Compared(tmp_path, whole, part.all, fetched_schema=NULLABLE, full=True)
    assert full.counts == Counts(fetched=4, unchanged=4, removed=4)
    assert types(full.left) == types([one | {"_removed_at": None} for one in whole])
    assert len(full.all) == 8


def test_an_empty_text_identifies_nothing_as_an_id_that_was_null(tmp_path: Path) -> None:
    copied = [row("", type="one"), row("b")]
    changes = Compared(tmp_path, [record("", type="other")], copied)
    assert (changes.counts, changes.is_by_key) == (Counts(fetched=1, inserted=1), False)
    assert types(changes.all) == [("", "one", False), ("", "other", False), ("b", "t", False)]
    whole = Compared(tmp_path, [record("", type="other"), record("b")], copied, full=True)
    assert types(whole.all) == [("", "one", True), ("", "other", False), ("b", "t", False)]


def test_a_record_beside_one_that_is_marked_under_its_id_is_updated_alone(tmp_path: Path) -> None:
    copied = [row("a", removed_at=NOON - HOUR, type="old"), row("a", type="there"), row("b")]
    it = Compared(tmp_path, [record("a", type="new"), record("b")], copied, full=True)
    assert (it.counts, it.is_by_key) == (Counts(fetched=2, updated=1, unchanged=1), False)
    assert types(it.all) == [("a", "new", False), ("a", "old", True), ("b", "t", False)]


def test_several_fields_together_identify_a_row_members_of_objects_among_them(tmp_path: Path) -> None:
    key = (("id",), ("place", "number"))
    place = pa.struct([("number", pa.int64()), ("name", pa.string())])
    fetched_schema = FETCHED.append(pa.field("place", place))
    rows = [record("a", place={"number": number, "name": "x"}) for number in (1, 2)]
    first = Compared(tmp_path, rows, None, fetched_schema=fetched_schema, key=key)
    copied = pa.Table.from_pylist(first.all, schema=first.schema)
    pq.write_table(copied, tmp_path / "copied.parquet")
    rows[1]["place"]["name"] = "y"
    difference = TableDiff(
        [write(tmp_path / "f.parquet", rows[1:], fetched_schema)],
        [tmp_path / "copied.parquet"],
        first.schema,
        started_at=NOON,
        finds_removed=False,
        is_overtaken=False,
        scratch=tmp_path,
        key=key,
    )
    assert (difference.counts, difference.is_by_key) == (Counts(fetched=1, updated=1), True)
    names = [one["place"]["name"] for one in difference.merged(delete_removed=False).read_all().to_pylist()]
    difference.close()
    assert sorted(names) == ["x", "y"]


def test_what_an_earlier_load_showed_is_there_in_its_later_form(tmp_path: Path) -> None:
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


def test_rows_marked_before_are_deleted_by_a_full_load_that_deletes_and_by_no_other(tmp_path: Path) -> None:
    copied = [row("a"), row("gone", removed_at=NOON - HOUR), row("back", removed_at=NOON - HOUR)]
    fetched = [record("a"), record("back")]
    it = Compared(tmp_path, fetched, copied, full=True, deletes_marked=True)
    assert it.counts == Counts(fetched=2, updated=1, unchanged=1, deleted=1)
    assert types(it.left) == [("a", "t", False), ("back", "t", False)]
    assert Compared(tmp_path, fetched, copied, deletes_marked=True).counts.deleted == 0
    shared = [*copied, row("b"), row("b", type="2"), row("b", type="3", removed_at=NOON - HOUR)]
    it = Compared(tmp_path, [*fetched, record("b"), record("b", type="2")], shared, full=True, deletes_marked=True)
    assert (it.counts.deleted, it.counts.removed, len(it.left), it.is_by_key) == (2, 0, 4, False)


def test_removals_that_are_refused_leave_everything_else_as_it_is(tmp_path: Path) -> None:
    marked = [row(name, removed_at=NOON - HOUR, type="marked") for name in ("gone", "b")]
    copied = [row("a"), row("lost"), row("b"), row("b", type="2"), *marked]
    difference = TableDiff(
        [write(tmp_path / "f.parquet", [record("a", type="new"), record("b")], FETCHED)],
        [write(tmp_path / "c.parquet", copied, COPIED)],
        COPIED,
        started_at=NOON,
        finds_removed=True,
        is_overtaken=False,
        scratch=tmp_path,
        deletes_marked=True,
    )
    assert (difference.counts.removed, difference.counts.deleted, difference.rows_there) == (2, 2, 4)
    difference.keep_missing()
    rows = difference.merged(delete_removed=True).read_all().to_pylist()
    changes = difference.changes().read_all().to_pylist()
    difference.close()
    assert difference.counts == Counts(fetched=2, updated=1, unchanged=1)
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
def test_after_a_full_load_the_rows_are_those_that_were_fetched_however_ids_repeat(
    before: list[tuple[Any, str]], after: list[tuple[Any, str]]
) -> None:
    with TemporaryDirectory() as directory:
        room = Path(directory)
        copied = [row(identity, type=name) for identity, name in before]
        fetched = [record(identity, type=name) for identity, name in after]
        it = Compared(room, fetched, copied, fetched_schema=NULLABLE, full=True)
    assert sorted(((one["id"], one["type"]) for one in it.left), key=str) == sorted(after, key=str)
    assert it.counts.fetched == it.counts.inserted + it.counts.updated + it.counts.unchanged == len(after)
    assert len(it.all) == len(it.left) + it.counts.removed
    assert len(before) + it.counts.inserted == len(it.all)


def test_an_attribute_may_have_any_name(tmp_path: Path) -> None:
    names = ["/change", "record", "change", "row", "k0", "n", "a`b", 'a"b', "a.b", "a b", "ü", "c", "x.record"]
    fetched_schema = pa.schema([*FETCHED, *((name, pa.string()) for name in names)])
    of = dict.fromkeys(names, "1")
    it = Compared(tmp_path, [record("a", **of)], None, fetched_schema=fetched_schema)
    assert it.all == [row("a", synced_at=NOON, **of)]
    shared = [record("a", **of), record("a", **of | {"n": "2"}), record("a", **of)]
    it = Compared(tmp_path, shared, None, fetched_schema=fetched_schema)
    assert (it.counts, len(it.all)) == (Counts(fetched=3, inserted=3), 3)


def test_columns_that_differ_by_case_only_are_refused_and_not_mixed_up(tmp_path: Path) -> None:
    with pytest.raises(DamagedState, match="'id' and 'ID'"):
        Compared(tmp_path, [record("a", ID="b")], None, fetched_schema=FETCHED.append(pa.field("ID", pa.string())))
