"""A table of the copy as a Delta table: one transaction for a poll, and nobody else's work undone."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus
from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable
from tests.support.table_rows import FETCHED, NOON, NULLABLE, record, table_diff


def apply(
    path: Path, scratch: Path, poll: int, *names: str, full: bool = False, delete: bool = False, **of: Any
) -> Counts:
    table = DeltaCopyTable(path)
    records = [record(name, **of) for name in names]
    started_at = NOON + timedelta(hours=poll)
    with table_diff(table, scratch, records, started_at=started_at, detects_removals=full) as diff:
        table.apply(diff, poll, delete_removed=delete)
        return diff.counts


def ids(path: Path) -> set[str]:
    return set(DeltaTable(path).to_pyarrow_table()["id"].to_pylist())


def test_a_commit_names_its_poll(tmp_path: Path) -> None:
    """The commit of a poll has its number and its counts."""
    path = tmp_path / "table"
    assert DeltaCopyTable(path).counts_of(1) is None
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "b", "c", type="other")
    table = DeltaCopyTable(path)
    assert table.counts_of(1) == Counts(fetched=2, inserted=2)
    assert table.counts_of(2) == Counts(fetched=2, inserted=1, updated=1)
    assert table.counts_of(3) is None
    assert table.version == 1


def test_no_change_makes_no_version(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    assert apply(path, tmp_path, 2, "a").unchanged == 1
    assert DeltaCopyTable(path).version == 0


@pytest.mark.parametrize("delete", [False, True])
def test_removals_are_in_the_same_transaction(tmp_path: Path, delete: bool) -> None:
    """Removed rows are marked, or deleted, in the transaction that changes the others."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "a", "c", full=True, delete=delete, type="other")
    assert ids(path) == ({"a", "c"} if delete else {"a", "b", "c"})
    assert DeltaCopyTable(path).version == 1


def test_another_writer_makes_the_poll_fail(tmp_path: Path) -> None:
    """What the other writer did stays, and the poll succeeds when it is repeated."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    table = DeltaCopyTable(path)
    with table_diff(table, tmp_path, [record("a", type="new"), record("c")]) as diff:
        DeltaTable(path).update(predicate="id = 'a'", updates={"type": "'somebody'"})
        with pytest.raises(LocalFailure, match="Someone else changed"):
            table.apply(diff, 2, delete_removed=False)
    assert ids(path) == {"a", "b"}
    assert apply(path, tmp_path, 2, "a", "c", type="new") == Counts(fetched=2, inserted=1, updated=1)
    assert ids(path) == {"a", "b", "c"}


def test_the_log_holds_no_values(tmp_path: Path) -> None:
    """Statistics would put the least and greatest values of each column into it."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "secret-id")
    apply(path, tmp_path, 2, "secret-id", _extra="secret-value")
    log = "".join(file.read_text() for file in (path / "_delta_log").glob("*.json"))
    assert "secret" not in log


def test_vacuum_removes_old_versions(tmp_path: Path) -> None:
    """The current version and those younger than the given age stay."""
    path = tmp_path / "table"
    for poll in range(1, 5):
        apply(path, tmp_path, poll, "a", type=str(poll))
    files = set(path.glob("*.parquet"))
    DeltaCopyTable(path).vacuum(timedelta(days=7))
    assert set(path.glob("*.parquet")) == files
    DeltaCopyTable(path).vacuum(timedelta(0))
    assert set(path.glob("*.parquet")) == set(DeltaCopyTable(path).files) < files
    assert ids(path) == {"a"}


def test_a_damaged_log_is_refused(tmp_path: Path) -> None:
    """The error does not quote the log."""
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
    with pytest.raises(DamagedState, match="int8"), table_diff(table, tmp_path, [record("a")]):
        pass


def test_what_cannot_be_merged_is_one_transaction_too(
    tmp_path: Path,
) -> None:
    """Rows that share a key, and names with a backtick, which delta-rs cannot read, make one version, too."""
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
        with table_diff(table, tmp_path, records, wide) as diff:
            table.apply(diff, poll, delete_removed=False, poll_id=f"{poll:032x}")
        assert DeltaCopyTable(path).version == poll
    rows = DeltaTable(path).to_pyarrow_table().to_pylist()
    assert sorted((one["id"], one["a`b"], one["type"]) for one in rows) == [
        ("a", "2", "t"),
        ("b", None, "2"),
        ("b", None, "t"),
    ]


def test_records_without_id_join_a_table_with_ids(tmp_path: Path) -> None:
    """A column of ids that was not nullable so far takes records without an id."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    for poll in (2, 3):
        table = DeltaCopyTable(path)
        with table_diff(table, tmp_path, [record("a"), record(None)], NULLABLE, detects_removals=True) as diff:
            table.apply(diff, poll, delete_removed=True)
        assert ids(path) == {"a", None}
        assert diff.counts.inserted == (poll == 2)


def test_a_table_is_compared_with_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "table"
    assert DeltaCopyTable(path).status(TableMark(3), ()) is TableStatus.ABSENT

    def poll(number: int, *names: str) -> TableMark:
        table = DeltaCopyTable(path)
        with table_diff(table, tmp_path, [record(name) for name in names]) as diff:
            table.apply(diff, number, delete_removed=False, poll_id=f"{number:032x}")
        return table.mark

    first, second = poll(1, "a"), poll(2, "b")
    assert (first, second) == (TableMark(0, f"{1:032x}", 1), TableMark(1, f"{2:032x}", 2))
    table = DeltaCopyTable(path)
    assert table.status(second, ()) is TableStatus.CURRENT
    assert table.status(TableMark(), ()) is TableStatus.CURRENT  # an earlier version noted nothing
    assert table.status(first, ()) is TableStatus.AHEAD
    assert table.status(first, {f"{2:032x}"}) is TableStatus.CURRENT
    assert table.status(TableMark(1, f"{7:032x}", 2), ()) is TableStatus.BEHIND
    assert table.status(TableMark(2, f"{3:032x}", 3), ()) is TableStatus.BEHIND
    assert (table.counts_of(2, f"{2:032x}"), table.counts_of(2, f"{9:032x}")) == (Counts(1, 1), None)
    table.compact()
    assert DeltaCopyTable(path).status(second, ()) is TableStatus.CURRENT
    DeltaTable(path).delete("id = 'a'")
    assert DeltaCopyTable(path).status(second, ()) is TableStatus.BEHIND


def test_a_few_changes_rewrite_a_few_small_files(tmp_path: Path) -> None:
    path = tmp_path / "table"
    values, table = Random(1), DeltaCopyTable(path)
    records = [record(f"{number:05}", type=values.randbytes(30).hex()) for number in range(20_000)]
    with table_diff(table, tmp_path, records) as diff:
        table.apply(diff, 1, delete_removed=False)
    before = {file: file.stat().st_size for file in table.files}
    apply(path, tmp_path, 2, "00007", type="other")
    changed = [file for file in DeltaCopyTable(path).files if file not in before]
    assert len(before) > 2
    assert sum(file.stat().st_size for file in changed) < sum(before.values()) / 2


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """The error says that there is no space left, and the table is as it was."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    table = DeltaCopyTable(path)
    with table_diff(table, tmp_path, [record(str(number)) for number in range(2_000)]) as diff, small_files(300):
        with pytest.raises(LocalFailure, match="no space left") as full:
            table.apply(diff, 2, delete_removed=False)
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
def test_a_panic_of_delta_rs_is_reported(tmp_path: Path, text: str, kind: type[Exception]) -> None:
    """A panic, which is no Exception, becomes an error of ours without its text; KeyboardInterrupt does not."""
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    table = DeltaCopyTable(path)
    with pytest.raises(kind) as said, table._failures("Writing"):
        raise PanicException(text)
    assert type(said.value) is kind
    assert "secret" not in str(said.value)
    with pytest.raises(KeyboardInterrupt), table._failures("Writing"):
        raise KeyboardInterrupt
