"""A table as one Parquet file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bulk_export.errors import DamagedState
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus
from bulk_export.pipelines.sync.tables.parquet_table import FILE, ParquetCopyTable
from tests.support.table_rows import record, table_diff


def opened(directory: Path) -> ParquetCopyTable:
    return ParquetCopyTable(directory / "table", directory)


def poll(directory: Path, number: int, *names: str) -> TableMark:
    table = opened(directory)
    with table_diff(table, directory, [record(name) for name in names]) as diff:
        table.apply(diff, number, delete_removed=False, poll_id=f"{number:032x}")
    return table.mark


def test_a_file_names_its_last_poll(tmp_path: Path) -> None:
    assert (opened(tmp_path).files, opened(tmp_path).schema, opened(tmp_path).version) == ((), None, None)
    poll(tmp_path, 1, "a")
    assert poll(tmp_path, 2, "a", "b") == TableMark(None, f"{2:032x}", 2)
    table = opened(tmp_path)
    assert table.counts_of(2, f"{2:032x}") == table.counts_of(2) == Counts(2, 1, 0, 1)
    assert table.counts_of(1) is table.counts_of(2, "f" * 32) is None
    assert pq.read_table(table.files[0])["id"].to_pylist() == ["a", "b"]


def test_without_changes_the_file_stays(tmp_path: Path) -> None:
    first = poll(tmp_path, 1, "a")
    before = (tmp_path / "table" / FILE).stat().st_ino
    assert poll(tmp_path, 2, "a") == first
    assert (tmp_path / "table" / FILE).stat().st_ino == before


def test_a_file_is_compared_with_its_mark(tmp_path: Path) -> None:
    """It is ahead only if it names the poll of the mark; a higher number may belong to another history."""
    assert opened(tmp_path).status(TableMark(), ()) is TableStatus.ABSENT
    first, second = poll(tmp_path, 1, "a"), poll(tmp_path, 2, "b")
    table = opened(tmp_path)
    assert table.status(second, ()) is TableStatus.CURRENT
    assert table.status(TableMark(), ()) is TableStatus.CURRENT
    assert table.status(first, {f"{2:032x}"}) is TableStatus.CURRENT
    assert table.status(first, ()) is TableStatus.AHEAD
    assert table.status(TableMark(None, "f" * 32, 1), ()) is TableStatus.BEHIND


def test_a_file_that_no_poll_wrote_is_refused(tmp_path: Path) -> None:
    poll(tmp_path, 1, "a")
    file = tmp_path / "table" / FILE
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(DamagedState, match="not a file that a poll wrote"):
        opened(tmp_path)
