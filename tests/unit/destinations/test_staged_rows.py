"""Rows as staging tables take them: JSON, NUL, child rows."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.sqlite_file import SqliteDialect
from bulk_export.destinations.staged_rows import StagedRows
from bulk_export.destinations.table_plan import plan_tables
from bulk_export.destinations.tables import LoadSettings, Mode
from bulk_export.errors import UsageError
from tests.support.finished_exports import exported_table

ENROLMENTS = pa.field("enrolments", pa.list_(pa.struct([("course", pa.string()), ("at", TIMESTAMP)])))


class WithoutNul(SqliteDialect):
    """A database whose strings hold no NUL, and that has lists of strings."""

    holds_nul = False

    def nested_type(self, type_: pa.DataType) -> str | None:
        """Lists of strings."""
        return "TEXT[]" if type_ == pa.list_(pa.string()) else None


def staged(
    table: pa.Table,
    *,
    number: int = 0,
    mode: Mode = Mode.REPLACE,
    child_tables: bool = False,
    replace_nul: bool = False,
    dialect: Dialect | None = None,
) -> list[dict[str, object]]:
    settings = LoadSettings(mode, child_tables=child_tables, replace_nul=replace_nul)
    chosen = dialect or WithoutNul()
    planned = plan_tables({"things": table.schema}, settings, chosen)["things"][number]
    rows = StagedRows(planned, chosen, "load-1", replace_nul).batches(table.to_batches())
    return [row for batch in rows for row in batch.to_pylist()]


def test_nested_values_become_json() -> None:
    """Objects and lists of them are JSON texts, null stays null."""
    table = exported_table(
        [{"id": "1", "enrolments": [{"course": 'a"b', "at": None}]}, {"id": "2", "enrolments": None}], ENROLMENTS
    )
    first, second = staged(table)
    assert json.loads(str(first["enrolments"])) == [{"course": 'a"b', "at": None}]
    assert second["enrolments"] is None


def test_extra_stays_as_it_is() -> None:
    """`_extra` keeps every digit and every escape."""
    text = '{"n":1.00000000000000000001,"s":"\\ud800"}'
    (row,) = staged(exported_table([{"id": "1", "_extra": text}]))
    assert row["_extra"] == text


def test_nul_is_refused() -> None:
    """NUL is an error that names the column and the number of strings, and no value."""
    names = pa.field("names", pa.list_(pa.string()))
    table = exported_table(
        [{"id": "secret", "type": "a\0", "names": ["b", "\0", None]}, {"id": "2", "type": "\0"}], names
    )
    with pytest.raises(UsageError) as raised:
        staged(table)
    assert "2 in type, 1 in names" in raised.value.what
    assert "secret" not in raised.value.what


def test_nul_is_replaced() -> None:
    """With `--nul replace`, it becomes U+FFFD, in lists as well."""
    names = pa.field("names", pa.list_(pa.string()))
    table = exported_table(
        [{"id": "0", "names": None}, {"id": "1", "type": "a\0b", "names": ["b", "\0", None]}, {"id": "2", "names": []}],
        names,
    ).slice(1)
    first, second = staged(table, replace_nul=True)
    assert first["type"] == "a\ufffdb"
    assert first["names"] == ["b", "\ufffd", None]
    assert second["names"] == []


def test_child_rows() -> None:
    """Elements of lists of objects are rows with their record's id and their position."""
    table = exported_table(
        [
            {"id": "0", "enrolments": [{"course": "left out"}]},
            {"id": "1", "enrolments": [{"course": "x"}, {"course": "y"}]},
            {"id": "2", "enrolments": []},
            {"id": "3", "enrolments": None},
            {"id": "4", "enrolments": [{"course": "z"}]},
        ],
        ENROLMENTS,
    ).slice(1)
    rows = staged(table, number=1, child_tables=True)
    assert [(row["_parent_id"], row["_position"], row["course"]) for row in rows] == [
        ("1", 0, "x"),
        ("1", 1, "y"),
        ("4", 0, "z"),
    ]
    assert "enrolments" not in staged(table, child_tables=True)[0]


def test_appended_rows_name_their_load() -> None:
    """With `--mode append`, each row has the id of its load."""
    (row,) = staged(exported_table([{"id": "1"}]), mode=Mode.APPEND)
    assert row["_load_id"] == "load-1"
