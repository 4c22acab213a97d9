"""The table `_bulk_export_loads`, in which each load records what it did to each table.

It makes a repeated load a no-op, and tells anybody who looks what the warehouse holds. It never holds credentials.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from bulk_export.destinations.dialect import TIMESTAMP, Dialect
from bulk_export.destinations.tables import Column, Mode, RecordedLoad, Statement, Table

NAME = "_bulk_export_loads"
_TYPES: dict[str, pa.DataType] = {
    "load_id": pa.string(),
    "table_name": pa.string(),
    "endpoint": pa.string(),
    "mode": pa.string(),
    "source": pa.string(),
    "source_id": pa.string(),
    "source_version": pa.string(),
    "service": pa.string(),
    "settings": pa.string(),
    "columns": pa.string(),
    "rows": pa.int64(),
    "inserted": pa.int64(),
    "updated": pa.int64(),
    "deleted": pa.int64(),
    "started_at": TIMESTAMP,
    "finished_at": TIMESTAMP,
    "tool_version": pa.string(),
}


def loads_table(dialect: Dialect) -> Table:
    """The table as a destination spells it."""
    columns = tuple(Column(dialect.fold(name), type_, nullable=False) for name, type_ in _TYPES.items())
    key = (dialect.fold("load_id"), dialect.fold("table_name"))
    return Table(dialect.fold(NAME), "", columns, key).with_key_columns()


def query(dialect: Dialect) -> str:
    """The statement that reads all loads, oldest first, with the columns that `recorded_load` takes."""
    columns = ", ".join(dialect.quote(column.name) for column in loads_table(dialect).columns)
    order = ", ".join(dialect.quote(dialect.fold(name)) for name in ("finished_at", "load_id", "table_name"))
    return f"SELECT {columns} FROM {dialect.table(dialect.fold(NAME))} ORDER BY {order}"


def recorded_load(row: Sequence[object]) -> RecordedLoad:
    """A row that `query` returned, with instants of any time zone or as ISO 8601 texts."""
    values = dict(zip(_TYPES, row, strict=True))
    texts = {name: str(values[name]) for name, type_ in _TYPES.items() if pa.types.is_string(type_)}
    counts = {name: int(str(values[name])) for name, type_ in _TYPES.items() if pa.types.is_integer(type_)}
    return RecordedLoad(
        load_id=texts["load_id"],
        table=texts["table_name"],
        endpoint=texts["endpoint"],
        mode=Mode(texts["mode"]),
        source=texts["source"],
        source_id=texts["source_id"],
        source_version=texts["source_version"],
        service=texts["service"],
        settings=texts["settings"],
        columns=tuple(json.loads(texts["columns"])),
        rows=counts["rows"],
        inserted=counts["inserted"],
        updated=counts["updated"],
        deleted=counts["deleted"],
        started_at=_instant(values["started_at"]),
        finished_at=_instant(values["finished_at"]),
        tool_version=texts["tool_version"],
    )


def insertion(load: RecordedLoad, dialect: Dialect) -> Statement:
    """The statement that records a load of one table."""
    table = loads_table(dialect)
    names = ", ".join(dialect.quote(column.name) for column in table.columns)
    places = ", ".join(dialect.placeholder(position) for position, _ in enumerate(table.columns, 1))
    return Statement(
        f"INSERT INTO {dialect.table(table.name)} ({names}) VALUES ({places})",
        parameters=(
            load.load_id,
            load.table,
            load.endpoint,
            str(load.mode),
            load.source,
            load.source_id,
            load.source_version,
            load.service,
            load.settings,
            json.dumps(load.columns),
            load.rows,
            load.inserted,
            load.updated,
            load.deleted,
            load.started_at,
            load.finished_at,
            load.tool_version,
        ),
    )


def _instant(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
