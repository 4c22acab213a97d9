"""A table of the copy as a Delta table: one transaction for a poll, and nobody else's work undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.polling.delta_table import CopiedDelta
from bulk_export.polling.difference import Counts, Difference
from tests.unit.polling.test_difference import FETCHED, NOON, record, write


@contextmanager
def difference(
    table: CopiedDelta, room: Path, records: list[dict[str, Any]], started_at: datetime = NOON, *, full: bool = False
) -> Iterator[Difference]:
    made = Difference(
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
    table = CopiedDelta(path)
    records = [record(name, **of) for name in names]
    with difference(table, room, records, NOON + timedelta(hours=poll), full=full) as made:
        table.apply(made, poll, delete_removed=delete)
        return made.counts


def ids(path: Path) -> set[str]:
    return set(DeltaTable(path).to_pyarrow_table()["id"].to_pylist())


def test_a_commit_says_which_poll_made_it_and_what_it_did(tmp_path: Path) -> None:
    path = tmp_path / "table"
    assert CopiedDelta(path).applied(1) is None
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "b", "c", type="other")
    table = CopiedDelta(path)
    assert table.applied(1) == Counts(fetched=2, inserted=2)
    assert table.applied(2) == Counts(fetched=2, inserted=1, updated=1)
    assert table.applied(3) is None
    assert table.version == 1


def test_what_changes_nothing_is_no_version(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    assert apply(path, tmp_path, 2, "a").unchanged == 1
    assert CopiedDelta(path).version == 0


@pytest.mark.parametrize("delete", [False, True])
def test_what_is_gone_is_marked_or_deleted_in_the_same_transaction(tmp_path: Path, delete: bool) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    apply(path, tmp_path, 2, "a", "c", full=True, delete=delete, type="other")
    assert ids(path) == ({"a", "c"} if delete else {"a", "b", "c"})
    assert CopiedDelta(path).version == 1


def test_another_writer_makes_the_poll_fail_and_is_not_undone(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a", "b")
    table = CopiedDelta(path)
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
    CopiedDelta(path).vacuum(timedelta(days=7))
    assert set(path.glob("*.parquet")) == files
    CopiedDelta(path).vacuum(timedelta(0))
    assert set(path.glob("*.parquet")) == set(CopiedDelta(path).files) < files
    assert ids(path) == {"a"}


def test_a_log_that_is_damaged_is_said_without_its_text(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    (path / "_delta_log" / f"{0:020}.json").write_text('{"secret": ')
    with pytest.raises(DamagedState, match="failed") as failure:
        CopiedDelta(path)
    assert "secret" not in str(failure.value.lines())


def test_a_column_that_no_poll_writes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table"
    apply(path, tmp_path, 1, "a")
    with pytest.raises(UsageError, match="cannot have"):
        CopiedDelta(tmp_path / "100%")
    table = CopiedDelta(path)
    assert table.schema is not None
    table.schema = table.schema.append(pa.field("theirs", pa.int8()))
    with pytest.raises(DamagedState, match="int8"), difference(table, tmp_path, [record("a")]):
        pass
