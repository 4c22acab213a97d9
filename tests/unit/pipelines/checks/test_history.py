"""The history of a Delta table, from its log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DamagedState
from bulk_export.pipelines.checks.history import StartVersion, TableHistory, oldest_checkpoint, read_history


def day(number: int) -> datetime:
    return datetime(2025, 6, number, tzinfo=UTC)


def commit(table: Path, number: int, *, add: str = "", remove: str = "", timestamp: Any = None) -> None:
    """Write a commit, made on the day after its number, and the file that it adds."""
    made_at = int(day(number + 1).timestamp() * 1000) if timestamp is None else timestamp
    actions: list[dict[str, Any]] = [{"commitInfo": {"timestamp": made_at}}]
    if add:
        actions.append({"add": {"path": add}})
        (table / add).touch()
    if remove:
        actions.append({"remove": {"path": remove}})
    log = table / "_delta_log"
    log.mkdir(exist_ok=True)
    (log / f"{number:020}.json").write_text("\n".join(map(json.dumps, actions)))


def made(table: Path) -> None:
    """Three versions: `a`, then `b` instead of it, then `c` beside that."""
    commit(table, 0, add="a.parquet")
    commit(table, 1, add="b.parquet", remove="a.parquet")
    commit(table, 2, add="c.parquet")


def names(history: TableHistory) -> list[tuple[str, int]]:
    return [(file.name, number) for file, number in history.files]


def test_each_file_is_listed_with_its_version(tmp_path: Path) -> None:
    made(tmp_path)
    history = read_history(tmp_path, 2, None)
    assert names(history) == [("a.parquet", 0), ("b.parquet", 1), ("c.parquet", 2)]
    assert (history.versions, history.is_truncated, history.complete_since) == (3, False, day(1))


def test_a_vacuum_truncates_the_history(tmp_path: Path) -> None:
    """The history is complete from the first version whose files all exist."""
    made(tmp_path)
    (tmp_path / "a.parquet").unlink()
    history = read_history(tmp_path, 2, None)
    assert names(history) == [("b.parquet", 1), ("c.parquet", 2)]
    assert (history.versions, history.is_truncated, history.complete_since) == (3, True, day(2))


def test_a_log_may_begin_with_a_checkpoint(tmp_path: Path) -> None:
    made(tmp_path)
    assert oldest_checkpoint(tmp_path) is None
    log = tmp_path / "_delta_log"
    (log / f"{0:020}.json").unlink()
    with pytest.raises(DamagedState, match="neither with the first version nor with a checkpoint"):
        oldest_checkpoint(tmp_path)
    (log / f"{1:020}.checkpoint.parquet").touch()
    assert oldest_checkpoint(tmp_path) == 1
    history = read_history(tmp_path, 2, StartVersion(1, frozenset({"b.parquet"}), day(9)))
    assert names(history) == [("b.parquet", 1), ("c.parquet", 2)]
    assert (history.versions, history.is_truncated, history.complete_since) == (2, True, day(9))


@pytest.mark.parametrize("timestamp", ["yesterday", 10**30])
def test_a_commit_may_have_no_usable_time(tmp_path: Path, timestamp: Any) -> None:
    commit(tmp_path, 0, add="a.parquet", timestamp=timestamp)
    assert read_history(tmp_path, 0, None).complete_since is None


@pytest.mark.parametrize("path", ["../b.parquet", "/etc/passwd", "", "%2e%2e/b.parquet"])
def test_a_file_outside_of_the_table_is_refused(tmp_path: Path, path: str) -> None:
    made(tmp_path)
    (tmp_path / "_delta_log" / f"{1:020}.json").write_text(json.dumps({"add": {"path": path}}))
    with pytest.raises(DamagedState, match="cannot be read"):
        read_history(tmp_path, 2, None)


def test_a_missing_commit_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "_delta_log" / f"{1:020}.json").unlink()
    with pytest.raises(DamagedState, match="is missing"):
        read_history(tmp_path, 2, None)
