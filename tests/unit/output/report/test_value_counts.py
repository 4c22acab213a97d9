"""Which values a report may show: words of enumerations that ten records have, and nothing that identifies anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk_export.output.report.part_files import opener
from bulk_export.output.report.value_counts import ColumnValues, rows_of, value_counts


def counted(path: Path, **columns: list[Any]) -> dict[str, ColumnValues]:
    pq.write_table(pa.table(columns), path / "a.parquet", row_group_size=16)
    return {column.name: column for column in value_counts([opener(path / "a.parquet")])}


def test_values_of_ten_records_are_shown(tmp_path: Path) -> None:
    """Rarer ones are only counted together, so nobody is recognised by one."""
    found = counted(tmp_path, state=["paid"] * 30 + ["void"] * 10 + ["clawed-back"] * 9 + ["ineligible"] + [None] * 4)
    assert found == {"state": ColumnValues("state", (("paid", 30), ("void", 10)), 10)}
    assert rows_of(list(found.values()))[-1] == ("state", "others, of fewer than 10 records each", 10)


def test_booleans_are_words(tmp_path: Path) -> None:
    found = counted(tmp_path, funded=[True] * 12 + [False] * 11 + [None])
    assert found["funded"].counts == (("true", 12), ("false", 11))


def test_files_are_added_up(tmp_path: Path) -> None:
    """A column that only some files have is counted in these, and a damaged file is passed over."""
    files = [tmp_path / name for name in ("a.parquet", "b.parquet", "c.parquet")]
    pq.write_table(pa.table({"state": ["paid"] * 6}), files[0])
    pq.write_table(pa.table({"state": ["paid"] * 6 + [None] * 4, "kind": ["one"] * 10}), files[1])
    files[2].write_bytes(b"")
    assert value_counts(map(opener, files)) == (
        ColumnValues("state", (("paid", 12),), 0),
        ColumnValues("kind", (("one", 10),), 0),
    )
    assert value_counts(map(opener, files), left_out=["state"])[0].name == "kind"


@pytest.mark.parametrize(
    "value",
    [
        "Ada",
        "ada lovelace",
        "ada@example.org",
        "1234567",
        "trn1234567",
        "a1-b2-c3-d4-e5-f6",
        "3fa85f64-5717-4562-b3fc-2c963f66afa6",
        "2021",
        "é",
        "x" * 49,
        "<b>",
        "",
    ],
)
def test_what_is_no_word_is_not_shown(tmp_path: Path, value: str) -> None:
    """One such value among many thousand makes the column none whose values are shown."""
    assert counted(tmp_path, state=["paid"] * 50 + [value] * 50 + ["paid"] * 50) == {}


@pytest.mark.parametrize("name", ["id", "participant_id", "full_name", "email", "teacher_reference_number", "_extra"])
def test_columns_that_identify_are_not_read(tmp_path: Path, name: str) -> None:
    assert counted(tmp_path, **{name: ["word"] * 20}) == {}


def test_many_values_are_no_enumeration(tmp_path: Path) -> None:
    """Twenty different ones are, twenty-one are not, however often each occurs."""
    words = [f"word-{chr(97 + number)}" for number in range(21)]
    assert "kind" in counted(tmp_path, kind=words[:20] * 10)
    assert counted(tmp_path, kind=words * 10) == {}


def test_other_types_are_not_counted(tmp_path: Path) -> None:
    assert counted(tmp_path, numbers=[1] * 20, lists=[["word"]] * 20) == {}
