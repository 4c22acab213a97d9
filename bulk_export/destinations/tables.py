"""What tables there are to be, and what tables there are: values that every destination shares."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Mode(enum.StrEnum):
    """What to do with the rows of a table that exists."""

    REPLACE = "replace"
    UPSERT = "upsert"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table at the destination.

    Attributes:
        name: Its identifier, not quoted.
        type: The Arrow type of the values that are staged; string for JSON.
        json: Whether the values are JSON texts: objects, lists that the destination does not hold, and `_extra`.
        nullable: Whether it may be null.
        source: The column of the export that it comes from; empty for a column that the load adds.
        key: Whether it belongs to what identifies a row, even if rows turn out to share it.
    """

    name: str
    type: pa.DataType
    json: bool = False
    nullable: bool = True
    source: str = ""
    key: bool = False

    @property
    def origin(self) -> str:
        """Where the values come from, for people: `created_at: timestamp[us, tz=UTC]`."""
        return f"{self.source}: {'JSON' if self.json else self.type}" if self.source else "added by the load"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is to be.

    Attributes:
        name: Its identifier, not quoted.
        endpoint: The endpoint whose records it holds.
        columns: Its columns in order.
        key: The columns of its primary key; empty if nothing identifies a row.
        parent: The name of the table whose rows own these, for a child table.
        nested: For a child table, the column of the export with the lists that become its rows.
    """

    name: str
    endpoint: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    parent: str | None = None
    nested: str | None = None

    def with_key_columns(self) -> Table:
        """The table with the columns of its key marked as such."""
        return replace(self, columns=tuple(replace(column, key=column.name in self.key) for column in self.columns))


@dataclass(frozen=True, slots=True)
class ExistingColumn:
    """A column that a table has, with its type as `Dialect.column_type` would write it."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """A table that the destination has.

    Attributes:
        name: Its identifier.
        columns: Its columns in order.
        key: The columns of its primary key.
        unfinished: Whether a load made it and ended before it had rows, where definitions commit by themselves.
    """

    name: str
    columns: tuple[ExistingColumn, ...]
    key: tuple[str, ...] = ()
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class RecordedLoad:
    """A row of `_bulk_export_loads`: what one load did to one table.

    Attributes:
        load_id: Names the load, which may have several tables.
        table: The table.
        endpoint: The endpoint whose records it holds.
        mode: How it was loaded.
        source: `export` or `copy`.
        source_id: SHA-256 of the manifest, or the identity of the copy, in hexadecimal.
        source_version: The version of a copy's table; empty for an export.
        service: Name and API version of the service, and its address: the origin of the table.
        settings: Options that change what rows look like, as JSON.
        columns: The columns that the load wrote.
        rows: Rows that the source had for the table.
        inserted, updated, deleted: What changed.
        started_at, finished_at: When, in UTC.
        tool_version: The version of this program.
    """

    load_id: str
    table: str
    endpoint: str
    mode: Mode
    source: str
    source_id: str
    source_version: str
    service: str
    settings: str
    columns: tuple[str, ...]
    rows: int
    inserted: int
    updated: int
    deleted: int
    started_at: datetime
    finished_at: datetime
    tool_version: str


class Counted(enum.StrEnum):
    """What the row count of a statement counts."""

    INSERTED = "inserted"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement of a load's transaction.

    Attributes:
        sql: The text, with `Dialect.placeholder` for each parameter.
        table: The table whose rows it changes, for counting.
        counted: What its row count means, if anything.
        parameters: The values of the placeholders.
    """

    sql: str
    table: str = ""
    counted: Counted | None = None
    parameters: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class RowCounts:
    """What a load changed in one table."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @classmethod
    def of(cls, table: str, statements: Sequence[Statement], changed: Sequence[int]) -> RowCounts:
        """Sum up what statements changed in a table, each so many rows."""
        totals = dict.fromkeys(Counted, 0)
        for statement, rows in zip(statements, changed, strict=True):
            if statement.table == table and statement.counted is not None:
                totals[statement.counted] += max(rows, 0)
        return cls(totals[Counted.INSERTED], totals[Counted.UPDATED], totals[Counted.DELETED])


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What the user decides about a load, checked.

    Attributes:
        mode: What to do with existing rows.
        table_prefix: What the name of each table begins with.
        child_tables: Whether lists of objects become tables of their own.
        replace_nul: Whether NUL in strings becomes U+FFFD, where the destination cannot hold it, or is an error.
        adopt: Whether a table of another origin may be taken over.
    """

    mode: Mode
    table_prefix: str = ""
    child_tables: bool = False
    replace_nul: bool = False
    adopt: bool = False

    def recorded(self) -> str:
        """The settings that change what rows look like, as they are recorded: JSON."""
        nul = "replace" if self.replace_nul else "fail"
        return json.dumps({"nested": "child-tables" if self.child_tables else "json", "nul": nul})
