"""What footers say of columns, and what they do not: no value, and nothing of nested columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.output.report.columns import Column, columns_of
from bulk_export.output.report.part_files import opener

ROWS = [{"id": str(number), "name": None if number % 4 else "x", "tags": [None]} for number in range(8)]


def write(path: Path, table: pa.Table, **options: object) -> Path:
    pq.write_table(table, path, **options)
    return path


def test_nulls_are_counted_over_all_files(tmp_path: Path) -> None:
    """Row groups and files are added up, and a column that a file lacks is empty in all of its rows."""
    files = [
        write(tmp_path / "a.parquet", pa.Table.from_pylist(ROWS), row_group_size=3),
        write(tmp_path / "b.parquet", pa.table({"id": ["8", "9"], "new": pa.array([None, 1], pa.int64())})),
    ]
    found = columns_of(map(opener, files))
    assert found.rows == 10
    assert found.columns == (
        Column("id", "string", 0),
        Column("name", "string", 8),
        Column("tags", "list of null", None),
        Column("new", "int64", 9),
    )


def test_types_are_short(tmp_path: Path) -> None:
    inner = pa.struct([("a", pa.int64()), ("b", pa.string())])
    table = pa.table(
        {"id": pa.array([], pa.string()), "all": pa.array([], pa.list_(inner)), "one": pa.array([], inner)}
    )
    types = [column.type for column in columns_of([opener(write(tmp_path / "a.parquet", table))]).columns]
    assert types == ["string", "list of object of 2 fields", "object of 2 fields"]


def test_files_without_statistics_and_without_footer(tmp_path: Path) -> None:
    """Without statistics nulls are not known; a missing, a damaged and a linked file are counted as unreadable."""
    good = write(tmp_path / "a.parquet", pa.table({"id": ["1"]}), write_statistics=False)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "c.parquet").symlink_to(good)
    found = columns_of(map(opener, [good, *(tmp_path / f"{name}.parquet" for name in "bcd")]))
    assert (found.columns, found.rows, found.unreadable) == ((Column("id", "string", None),), 1, 3)
