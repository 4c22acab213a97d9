"""What a load does to a table that may exist: nothing, create it, or change its columns and rows. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.table_plan import LOAD_ID
from bulk_export.destinations.tables import (
    ExistingColumn,
    ExistingTable,
    LoadSettings,
    Mode,
    RecordedLoad,
    Statement,
    Table,
)
from bulk_export.errors import UsageError


class Action(enum.StrEnum):
    """What happens to the rows of a table."""

    SKIP = "skip"
    CREATE = "create"
    REPLACE = "replace"
    UPSERT = "upsert"
    APPEND = "append"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows come from.

    Attributes:
        source: `export` or `copy`.
        id: SHA-256 of the manifest, or the identity of the copy.
        version: The version of a copy's table; empty for an export.
        service: Name and API version of the service, and its address.
    """

    source: str
    id: str
    version: str
    service: str


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one table.

    Attributes:
        table: The table as it is to be.
        action: What happens to its rows.
        alterations: Statements that change its columns first.
        last: The last load that was recorded for it.
    """

    table: Table
    action: Action
    alterations: tuple[Statement, ...] = ()
    last: RecordedLoad | None = None


def decide(
    table: Table,
    existing: ExistingTable | None,
    recorded: Sequence[RecordedLoad],
    origin: Origin,
    settings: LoadSettings,
    dialect: Dialect,
) -> Change:
    """Decide what a load does to a table.

    Args:
        table: The table as it is to be.
        existing: The table of that name that the destination has.
        recorded: All recorded loads of that table, oldest first.
        origin: Where the rows come from.
        settings: The options of the load.
        dialect: The destination's.

    Returns:
        The change.

    Raises:
        UsageError: The table is of another origin, or its columns would have to change and may lose something. The
            message has the statement that a person may run.
    """
    last = recorded[-1] if recorded else None
    if existing is None:
        return Change(table, Action.CREATE, last=last)
    if last is not None or not existing.unfinished:
        _check_origin(table, last, origin, settings)
    if _is_loaded(recorded, origin, settings):
        return Change(table, Action.SKIP, last=last)
    _check_key(table, existing, dialect)
    if not existing.key:
        # Rows may share their id there, so they cannot be told apart by it.
        table = replace(table, key=())
    alterations = _alterations(table, existing, last, settings, dialect)
    return Change(table, Action(settings.mode), alterations, last)


def _check_origin(table: Table, last: RecordedLoad | None, origin: Origin, settings: LoadSettings) -> None:
    if settings.adopt:
        return
    if last is None:
        raise UsageError(
            f"There is a table {table.name} that this program did not make.",
            kept="Nothing was changed at the destination.",
            next_step="Choose another --schema or --table-prefix, or take it over with --adopt.",
        )
    if (last.service, last.endpoint) != (origin.service, table.endpoint):
        raise UsageError(
            f"The table {table.name} holds {last.endpoint} of {last.service}, and this is {origin.service}.",
            kept="Nothing was changed at the destination.",
            next_step="Choose another --schema or --table-prefix, or take it over with --adopt.",
        )


def _is_loaded(recorded: Sequence[RecordedLoad], origin: Origin, settings: LoadSettings) -> bool:
    """Whether the same rows are there already: by the last load, or for appended rows by any."""
    relevant: Iterable[RecordedLoad] = recorded if settings.mode is Mode.APPEND else recorded[-1:]
    wanted = (origin.source, origin.id, origin.version, settings.mode, settings.recorded())
    return any(
        (load.source, load.source_id, load.source_version, load.mode, load.settings) == wanted for load in relevant
    )


def _check_key(table: Table, existing: ExistingTable, dialect: Dialect) -> None:
    """Refuse a primary key that the rows may not have."""
    if existing.key and set(existing.key) != set(table.key):
        wanted = f"of {', '.join(table.key)}" if table.key else "none, since no column identifies a row"
        raise UsageError(
            f"The primary key of {table.name} is {', '.join(existing.key)}; the load needs {wanted}.",
            kept="Nothing was changed at the destination.",
            next_step=f"Choose another --table-prefix, or drop the table: DROP TABLE {dialect.table(table.name)}",
        )


def _alterations(
    table: Table, existing: ExistingTable, last: RecordedLoad | None, settings: LoadSettings, dialect: Dialect
) -> tuple[Statement, ...]:
    """The statements that give a table its new columns.

    1. A column that the table lacks is added.
    2. A type that can be widened without loss is widened.
    3. Any other type is refused, and so is a column that an earlier load wrote and this one does not have: its values
       would vanish. Columns that people added stay as they are.
    """
    present = {column.name: column for column in existing.columns}
    statements: list[Statement] = []
    for column in table.columns:
        found = present.get(column.name)
        if found is None:
            if column.name == dialect.fold(LOAD_ID):
                raise _refused(table, "was not loaded with --mode append", f"DROP TABLE {dialect.table(table.name)}")
            statements.append(Statement(dialect.add_column(table.name, column)))
        elif (wanted := dialect.column_type(column)) != found.type:
            if not dialect.is_widening(found.type, wanted):
                raise _refused(
                    table,
                    f"has {column.name} as {found.type}, and the load needs {wanted}",
                    dialect.alter_type(table.name, column),
                )
            statements.append(Statement(dialect.alter_type(table.name, column)))
    written = set(last.columns) if last is not None and not settings.adopt else set()
    for lost in existing.columns:
        if lost.name in written and lost.name not in {column.name for column in table.columns}:
            raise _refused(
                table, f"has the column {lost.name}, which the load lacks", _drop_column(table, lost, dialect)
            )
    return tuple(statements)


def _drop_column(table: Table, column: ExistingColumn, dialect: Dialect) -> str:
    return f"ALTER TABLE {dialect.table(table.name)} DROP COLUMN {dialect.quote(column.name)}"


def _refused(table: Table, what: str, statement: str) -> UsageError:
    return UsageError(
        f"The table {table.name} {what}.",
        kept="Nothing was changed at the destination.",
        next_step=f"If nothing is lost by it, run: {statement}",
    )
