"""A table of the copy as a Delta table: one transaction for a poll, and nobody else's work undone."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.pipelines.sync.copied_table import Standing
from bulk_export.pipelines.sync.delta_table import DeltaCopyTable
from bulk_export.pipelines.sync.diff import Counts, TableDiff
from bulk_export.pipelines.sync.state import TableMark
from tests.unit.pipelines.sync.test_diff import FETCHED, NOON, record, write


@contextmanager
def difference(
    table: DeltaCopyTable, room: Path, records: list[dict[str, Any]], started_at: datetime = NOON, *, full: bool = False
) -> Iterator[TableDiff]:
    made = TableDiff(
        [write(room / "fetched.parquet", records, FETCHED)],
        table.files,
        table.schema,
        started_at=started_at,
        finds_removed=full,
        is_overtaken=False,
        scratch=room,
    )
    try:
        yield made
    finally:
        made.close()


def apply(
    path: Path, room: Path, poll: int, *names: str, full: bool = False, delete: bool = False, **of: Any
) -> Counts:
    table = DeltaCopyTable(path)
    records = [record(name, **of) for name in names]
    with difference(table, room, records, NOON + timedelta(hours=poll), full=full) as made:
        table.apply(made, poll, delete_removed=delete)
        return made.counts


def ids(path: Path) -> set[str]:
    return set(DeltaTable(path).to_pyarrow_table()["id"].to_pylist())


def test_a_commit_says_which_poll_made_it_and_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "table"
    assert DeltaCopyTable(path).applied(1) is None
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "b", "c", type="other")
    table = DeltaCopyTable(path)
    assert table.applied(1) == Counts(fetched=2, inserted=2)
    assert table.applied(2) == Counts(fetched=2, inserted=1, updated=1)
    assert table.applied(3) is None
    assert table.version == 1


def test_what_changes_nothing_is_no_version(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    assert apply(path, tmp_path, 2, "a").unchanged == 1
    assert DeltaCopyTable(path).version == 0


@pytest.mark.parametrize("delete", [False, True])
def test_what_is_gone_is_marked_or_deleted_in_the_same_transaction(tmp_path: Path, delete: bool) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "a", "c", full=True, delete=delete, type="other")
    assert ids(path) == ({"a", "c"} if delete else {"a", "b", "c"})
    assert DeltaCopyTable(path).version == 1


def test_another_writer_makes_the_poll_fail_and_is_not_undone(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    table = DeltaCopyTable(path)
    with difference(table, tmp_path, [record("a", type="new"), record("c")]) as made:
        DeltaTable(path).update(predicate="id = 'a'", updates={"type": "'somebody'"})
        with pytest.raises(LocalFailure, match="Someone else changed"):
            table.apply(made, 2, delete_removed=False)
    assert ids(path) == {"a", "b"}
    assert apply(path, tmp_path, 2, "a", "c", type="new") == Counts(fetched=2, inserted=1, updated=1)
    assert ids(path) == {"a", "b", "c"}


def test_least_and_greatest_values_do_not_stand_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "secret-id")
    apply(path, tmp_path, 2, "secret-id", _extra="secret-value")
    log = "".join(file.read_text() for file in (path / "_delta_log").glob("*.json"))
    assert "secret" not in log


def test_a_vacuum_ends_the_history_and_leaves_the_present(tmp_path: Path) -> None:
    path = tmp_path / "table"
    for poll in range(1, 5):
        apply(path, tmp_path, poll, "a", type=str(poll))
    files = set(path.glob("*.parquet"))
    DeltaCopyTable(path).vacuum(timedelta(days=7))
    assert set(path.glob("*.parquet")) == files
    DeltaCopyTable(path).vacuum(timedelta(0))
    assert set(path.glob("*.parquet")) == set(DeltaCopyTable(path).files) < files
    assert ids(path) == {"a"}


def test_a_log_that_is_damaged_is_said_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    (path / "_delta_log" / f"{0:020}.json").write_text('{"secret": ')
    with pytest.raises(DamagedState, match="failed") as failure:
        DeltaCopyTable(path)
    assert "secret" not in str(failure.value.lines())


def test_a_column_that_no_poll_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    with pytest.raises(UsageError, match="cannot have"):
        DeltaCopyTable(tmp_path / "100%")
    table = DeltaCopyTable(path)
    assert table.schema is not None
    table.schema = table.schema.append(pa.field("theirs", pa.int8()))
    with pytest.raises(DamagedState, match="int8"), difference(table, tmp_path, [record("a")]):
        pass


def test_rows_that_share_a_key_and_names_that_the_library_cannot_read_are_written_in_one_transaction_too(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table"
    wide = FETCHED.append(pa.field("a`b", pa.string()))
    for poll, records in enumerate(
        (
            [record("a", **{"a`b": "1"}), record("b")],
            [record("a", **{"a`b": "2"})],
            [record("b"), record("b", type="2")],
        )
    ):
        table = DeltaCopyTable(path)
        made = TableDiff(
            [write(tmp_path / "fetched.parquet", records, wide)],
            table.files,
            table.schema,
            started_at=NOON,
            finds_removed=False,
            is_overtaken=False,
            scratch=tmp_path,
        )
        table.apply(made, poll, delete_removed=False, poll_id=f"{poll:032x}")
        made.close()
        assert DeltaCopyTable(path).version == poll
    rows = DeltaTable(path).to_pyarrow_table().to_pylist()
    assert sorted((one["id"], one["a`b"], one["type"]) for one in rows) == [
        ("a", "2", "t"),
        ("b", None, "2"),
        ("b", None, "t"),
    ]


def test_a_table_that_knew_ids_only_takes_records_without_one(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    nullable = FETCHED.set(0, pa.field("id", pa.string()))
    for poll in (2, 3):
        table = DeltaCopyTable(path)
        made = TableDiff(
            [write(tmp_path / "fetched.parquet", [record("a"), record(None)], nullable)],  # type: ignore[arg-type]
            table.files,
            table.schema,
            started_at=NOON,
            finds_removed=True,
            is_overtaken=False,
            scratch=tmp_path,
        )
        table.apply(made, poll, delete_removed=True)
        made.close()
        assert ids(path) == {"a", None}
        assert made.counts.inserted == (poll == 2)


def test_a_table_is_compared_with_what_was_noted_of_it(tmp_path: Path) -> None:
    path = tmp_path / "table"
    assert DeltaCopyTable(path).standing(TableMark(3), ()) is Standing.ABSENT

    def poll(number: int, *names: str) -> TableMark:
        table = DeltaCopyTable(path)
        with difference(table, tmp_path, [record(name) for name in names]) as made:
            table.apply(made, number, delete_removed=False, poll_id=f"{number:032x}")
        return table.mark

    first, second = poll(1, "a"), poll(2, "b")
    assert (first, second) == (TableMark(0, f"{1:032x}", 1), TableMark(1, f"{2:032x}", 2))
    table = DeltaCopyTable(path)
    assert table.standing(second, ()) is Standing.KNOWN
    assert table.standing(TableMark(), ()) is Standing.KNOWN  # an earlier version noted nothing
    assert table.standing(first, ()) is Standing.AHEAD
    assert table.standing(first, {f"{2:032x}"}) is Standing.KNOWN
    assert table.standing(TableMark(1, f"{7:032x}", 2), ()) is Standing.BEHIND
    assert table.standing(TableMark(2, f"{3:032x}", 3), ()) is Standing.BEHIND
    assert (table.applied(2, f"{2:032x}"), table.applied(2, f"{9:032x}")) == (Counts(1, 1), None)
    table.compact()
    assert DeltaCopyTable(path).standing(second, ()) is Standing.KNOWN
    DeltaTable(path).delete("id = 'a'")
    assert DeltaCopyTable(path).standing(second, ()) is Standing.BEHIND


def test_a_few_changes_rewrite_a_few_small_files(tmp_path: Path) -> None:
    path = tmp_path / "table"
    values, table = Random(1), DeltaCopyTable(path)
    records = [record(f"{number:05}", type=values.randbytes(30).hex()) for number in range(20_000)]
    with difference(table, tmp_path, records) as made:
        table.apply(made, 1, delete_removed=False)
    before = {file: file.stat().st_size for file in table.files}
    apply(path, tmp_path, 2, "00007", type="other")
    changed = [file for file in DeltaCopyTable(path).files if file not in before]
    assert len(before) > 2
    assert sum(file.stat().st_size for file in changed) < sum(before.values()) / 2


def test_a_full_disk_is_said_and_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    table = DeltaCopyTable(path)
    with difference(table, tmp_path, [record(str(number)) for number in range(2_000)]) as made, small_files(300):
        with pytest.raises(LocalFailure, match="no space left") as full:
            table.apply(made, 2, delete_removed=False)
        assert type(full.value) is LocalFailure
    assert ids(path) == {"a"}
    assert DeltaCopyTable(path).remove_unused() >= 0


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """No file may grow beyond so many bytes, which is how a full disk looks to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class PanicException(BaseException):
    """As the library's own errors are called; it is no Exception there either."""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('called `Result::unwrap()` on an `Err` value: Os { code: 28, message: "No space left" }', LocalFailure),
        ("index out of bounds: secret@example.org", DamagedState),
    ],
)
def test_a_panic_of_the_library_is_an_error_like_others(tmp_path: Path, text: str, kind: type[Exception]) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    table = DeltaCopyTable(path)
    with pytest.raises(kind) as said, table._failures("Writing"):
        raise PanicException(text)
    assert type(said.value) is kind
    assert "secret" not in str(said.value)
    with pytest.raises(KeyboardInterrupt), table._failures("Writing"):
        raise KeyboardInterrupt
