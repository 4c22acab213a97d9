"""What a load does to a table that exists."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from bulk_export.destinations.changes import Action, Origin, decide
from bulk_export.destinations.duckdb_file import DuckDBDialect
from bulk_export.destinations.tables import (
    Column,
    ExistingColumn,
    ExistingTable,
    LoadSettings,
    Mode,
    RecordedLoad,
    Table,
)
from bulk_export.errors import UsageError

DIALECT = DuckDBDialect()
REPLACE = LoadSettings(Mode.REPLACE)
ORIGIN = Origin("export", "ab" * 32, "", "npq v3 at https://service.example")
TABLE = Table(
    "statements",
    "statements",
    (Column("id", pa.string(), nullable=False, source="id"), Column("month", pa.string(), source="month")),
    ("id",),
)
EXISTING = ExistingTable("statements", tuple(ExistingColumn(c.name, "VARCHAR") for c in TABLE.columns), ("id",))
LOADED = RecordedLoad(
    load_id="1",
    table="statements",
    endpoint="statements",
    mode=Mode.REPLACE,
    source="export",
    source_id=ORIGIN.id,
    source_version="",
    service=ORIGIN.service,
    settings=REPLACE.recorded(),
    columns=("id", "month"),
    rows=1,
    inserted=1,
    updated=0,
    deleted=0,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    tool_version="0",
)
OLDER = replace(LOADED, load_id="0", source_id="cd" * 32)


def decided(
    existing: ExistingTable | None = EXISTING,
    recorded: list[RecordedLoad] | None = None,
    settings: LoadSettings = REPLACE,
    table: Table = TABLE,
) -> tuple[Action, list[str]]:
    change = decide(table, existing, [OLDER] if recorded is None else recorded, ORIGIN, settings, DIALECT)
    return change.action, [statement.sql for statement in change.alterations]


def with_column(name: str, type_: str) -> ExistingTable:
    return replace(EXISTING, columns=(*EXISTING.columns, ExistingColumn(name, type_)))


def test_new_table() -> None:
    """A table that is not there is created, even if a load of it was recorded."""
    assert decided(None) == (Action.CREATE, [])


def test_mode_decides() -> None:
    """Otherwise the mode decides."""
    assert decided() == (Action.REPLACE, [])
    assert decided(settings=LoadSettings(Mode.UPSERT)) == (Action.UPSERT, [])


def test_same_rows_again() -> None:
    """A load that was the last one is not repeated."""
    assert decided(recorded=[OLDER, LOADED])[0] is Action.SKIP


def test_same_rows_after_others() -> None:
    """After another load in between, it is."""
    assert decided(recorded=[LOADED, OLDER])[0] is Action.REPLACE


def test_other_settings() -> None:
    """With options that change what rows look like, it is repeated as well."""
    assert decided(recorded=[LOADED], settings=LoadSettings(Mode.REPLACE, replace_nul=True))[0] is Action.REPLACE


def test_appended_rows() -> None:
    """Rows that were ever appended are not appended again."""
    settings = LoadSettings(Mode.APPEND)
    appended = replace(LOADED, mode=Mode.APPEND)
    assert decided(recorded=[appended, OLDER], settings=settings)[0] is Action.SKIP


def test_foreign_table() -> None:
    """A table that this program did not make is refused, unless it is adopted."""
    with pytest.raises(UsageError, match="did not make"):
        decided(recorded=[])
    assert decided(recorded=[], settings=LoadSettings(Mode.REPLACE, adopt=True))[0] is Action.REPLACE


def test_other_service() -> None:
    """A table with the records of another service is refused."""
    with pytest.raises(UsageError, match="ecf v3"):
        decided(recorded=[replace(OLDER, service="ecf v3 at https://service.example")])


def test_new_column() -> None:
    """A column that the table lacks is added."""
    assert decided(replace(EXISTING, columns=EXISTING.columns[:1])) == (
        Action.REPLACE,
        ['ALTER TABLE "statements" ADD COLUMN "month" VARCHAR'],
    )


def test_other_type() -> None:
    """A type that cannot be widened is refused with the statement that a person may run."""
    existing = replace(EXISTING, columns=(EXISTING.columns[0], ExistingColumn("month", "BIGINT")))
    with pytest.raises(UsageError) as raised:
        decided(existing)
    assert 'ALTER TABLE "statements" ALTER COLUMN "month" TYPE VARCHAR' in raised.value.next_step


def test_lost_column() -> None:
    """A column that an earlier load wrote and this one lacks is refused: its values would vanish."""
    with pytest.raises(UsageError) as raised:
        decided(with_column("cohort", "VARCHAR"), [replace(OLDER, columns=("id", "month", "cohort"))])
    assert 'DROP COLUMN "cohort"' in raised.value.next_step


def test_column_of_a_person() -> None:
    """A column that no load wrote stays."""
    assert decided(with_column("note", "VARCHAR")) == (Action.REPLACE, [])


def test_other_primary_key() -> None:
    """A primary key that rows may violate is refused."""
    with pytest.raises(UsageError, match="primary key"):
        decided(replace(EXISTING, key=("month",)))


def test_table_without_key() -> None:
    """Rows of a table without a primary key are not told apart by the id."""
    change = decide(TABLE, replace(EXISTING, key=()), [OLDER], ORIGIN, REPLACE, DIALECT)
    assert change.table.key == ()
