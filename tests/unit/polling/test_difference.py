"""What is inserted, updated and removed, by comparing every value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk_export.errors import DamagedState
from bulk_export.polling.difference import Counts, Difference

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
COPIED = pa.schema([*FETCHED, ("_synced_at", INSTANT), ("_removed_at", INSTANT)])


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
    ) -> None:
        files = [write(room / "fetched's.parquet", fetched, fetched_schema)]
        current = [] if copied is None else [write(room / "current [1].parquet", copied, COPIED)]
        difference = Difference(
            files,
            current,
            None if copied is None else COPIED,
            started_at=NOON,
            finds_removed=full,
            is_overtaken=overtaken,
            scratch=room,
        )
        self.counts = difference.counts
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
        Difference(
            [tmp_path / "torn.parquet"],
            [],
            None,
            started_at=NOON,
            finds_removed=False,
            is_overtaken=False,
            scratch=tmp_path,
        )
    assert "secret" not in str(failure.value.lines())
