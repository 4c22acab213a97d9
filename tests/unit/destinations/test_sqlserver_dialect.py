"""The T-SQL of a load, as text."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.destinations.changes import Action, Origin, decide
from bulk_export.destinations.loads_table import loads_table
from bulk_export.destinations.sqlserver_dialect import SQLServerDialect, existing_column
from bulk_export.destinations.statements import Removal, Staged, create_table, merge_rows
from bulk_export.destinations.table_plan import plan_tables
from bulk_export.destinations.tables import ExistingTable, LoadSettings, Mode, Table
from bulk_export.errors import UsageError
from tests.support.finished_exports import EXTRA, ID, INSTANT

DIALECT = SQLServerDialect("dbo", "5ffe")
KEY = "nvarchar(450) COLLATE Latin1_General_100_BIN2"
FIELDS = (
    pa.field("state", pa.string()),
    pa.field("lead", pa.bool_()),
    pa.field("size", pa.int64()),
    pa.field("share", pa.float64()),
    pa.field("at", INSTANT),
    pa.field("day", pa.date32()),
    pa.field("parts", pa.list_(pa.string())),
)


def planned(*fields: pa.Field, dialect: SQLServerDialect = DIALECT, endpoint: str = "things") -> Table:
    settings = LoadSettings(Mode.REPLACE)
    return plan_tables({endpoint: pa.schema([ID, *fields, EXTRA])}, settings, dialect)[endpoint][0]


def test_create_table() -> None:
    """Each type has a column of its own kind; lists are JSON; keys are compared by code unit."""
    assert create_table(planned(*FIELDS), DIALECT) == (
        f"IF OBJECT_ID(N'[dbo].[things]') IS NULL CREATE TABLE [dbo].[things] ([id] {KEY} NOT NULL,"
        " [state] nvarchar(max), [lead] bit, [size] bigint, [share] float, [at] datetimeoffset(6), [day] date,"
        " [parts] nvarchar(max), [_extra] nvarchar(max), PRIMARY KEY ([id]))"
    )


def test_recorded_loads() -> None:
    """The columns of the key of `_bulk_export_loads` are short enough for an index."""
    created = create_table(loads_table(DIALECT), DIALECT)
    assert f"[load_id] {KEY} NOT NULL, [table_name] {KEY} NOT NULL, [endpoint] nvarchar(max) NOT NULL" in created


def test_merge_rows() -> None:
    """Rows that are missing go, those that differ in a byte change, and new ones come."""
    table = planned(pa.field("size", pa.int64()))
    merged = merge_rows(table, Staged("_bulk_export_staged_1"), Removal.OTHERS, DIALECT)
    staging = "[dbo].[_bulk_export_staged_1_5ffe]"
    match = "t.[id] = s.[id]"
    deleted, updated, inserted = (statement.sql for statement in merged)
    assert deleted == (
        f"DELETE t FROM [dbo].[things] AS t WHERE NOT EXISTS (SELECT 1 FROM {staging} AS s WHERE {match})"
    )
    assert updated == (
        "UPDATE t SET [size] = s.[size], [_extra] = s.[_extra] FROM [dbo].[things] AS t"
        f" INNER JOIN {staging} AS s ON {match}"
        " WHERE EXISTS (SELECT t.[size] EXCEPT SELECT s.[size])"
        " OR EXISTS (SELECT CAST(t.[_extra] AS varbinary(max)), DATALENGTH(t.[_extra])"
        " EXCEPT SELECT CAST(s.[_extra] AS varbinary(max)), DATALENGTH(s.[_extra]))"
    )
    assert inserted == (
        "INSERT INTO [dbo].[things] ([id], [size], [_extra]) SELECT s.[id], s.[size], s.[_extra]"
        f" FROM {staging} AS s WHERE NOT EXISTS (SELECT 1 FROM [dbo].[things] AS t WHERE {match})"
    )


@pytest.mark.parametrize(
    ("found", "alteration"),
    [
        (("size", "bigint", 8, 0, None), None),
        (("size", "int", 4, 0, None), "ALTER TABLE [dbo].[things] ALTER COLUMN [size] bigint NULL"),
        (("size", "float", 8, 0, None), "refused"),
        (("other", "int", 4, 0, None), "ALTER TABLE [dbo].[things] ADD [size] bigint NULL"),
    ],
)
def test_alterations(found: tuple[str, str, int, int, str | None], alteration: str | None) -> None:
    """A column is added or widened; what may lose something is refused."""
    table = planned(pa.field("size", pa.int64()))
    columns = (
        existing_column("id", "nvarchar", 900, 0, "Latin1_General_100_BIN2", nullable=False),
        existing_column(*found, nullable=True),
        existing_column("_extra", "nvarchar", -1, 0, "Latin1_General_CI_AS", nullable=True),
    )
    existing = ExistingTable("things", columns, ("id",))

    def decided() -> list[str]:
        settings = LoadSettings(Mode.REPLACE, adopt=True)
        change = decide(table, existing, [], Origin("export", "ab", "", "npq"), settings, DIALECT)
        assert change.action is Action.REPLACE
        return [statement.sql for statement in change.alterations]

    if alteration == "refused":
        with pytest.raises(UsageError, match="needs bigint"):
            decided()
    else:
        assert decided() == ([] if alteration is None else [alteration])


names = st.text(
    st.sampled_from("ab]['\";-?%é\u2028 ") | st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=70,
)


@given(schema=names, endpoint=names, column=names)
def test_hostile_names(schema: str, endpoint: str, column: str) -> None:
    """With names and literals taken out, each statement is the one for harmless names."""
    hostile = SQLServerDialect(schema, "5ffe")
    table = planned(pa.field(f"x{column}", pa.int64()), dialect=hostile, endpoint=endpoint)
    harmless = planned(pa.field("y", pa.int64()))

    def statements(of: Table, dialect: SQLServerDialect) -> list[str]:
        merged = merge_rows(of, Staged("_bulk_export_staged_1"), Removal.OTHERS, dialect)
        added = dialect.add_column(of.name, of.columns[1])
        texts = [create_table(of, dialect), added, *(s.sql for s in (*merged, *dialect.comments(of, endpoint)))]
        return [re.sub(r"N'(?:[^']|'')*'|\[(?:[^\]]|\]\])*\]", "_", text, flags=re.DOTALL) for text in texts]

    assert statements(table, hostile) == statements(harmless, DIALECT)


@pytest.mark.integration
def test_grammar() -> None:
    """A parser of T-SQL takes all statements."""
    sqlglot = pytest.importorskip("sqlglot")
    from bulk_export.destinations import sqlserver

    table = planned(*FIELDS, pa.field("a]b'", pa.string()))
    merged = merge_rows(table, Staged("_bulk_export_staged_1"), Removal.OTHERS, DIALECT)
    texts = [create_table(table, DIALECT), *(s.sql for s in (*merged, *DIALECT.comments(table, "things")))]
    texts += [value for name, value in vars(sqlserver).items() if re.match("_[A-Z]", name) and "SELECT" in str(value)]
    assert len(texts) > 15
    for text in texts:
        assert sqlglot.parse(text, read="tsql"), text
