"""Which tables and columns an endpoint becomes at a destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from bulk_export.destinations.dialect import Dialect
from bulk_export.destinations.identifiers import child_table_name, fitted_names, table_name
from bulk_export.destinations.tables import Column, LoadSettings, Mode, Table
from bulk_export.transform.schema import EXTRA, ID

LOAD_ID = "_load_id"
PARENT_ID, POSITION = "_parent_id", "_position"


def plan_tables(
    schemas: Mapping[str, pa.Schema], settings: LoadSettings, dialect: Dialect
) -> dict[str, tuple[Table, ...]]:
    """Plan the tables of a load.

    Args:
        schemas: The columns of each endpoint.
        settings: The options of the load.
        dialect: The destination's.

    Returns:
        The tables of each endpoint: its own first, then those of its lists of objects with `child_tables`.

    Raises:
        UsageError: A name cannot be used.
    """
    children = {name: _child_columns(schema) if settings.child_tables else () for name, schema in schemas.items()}
    wanted = {name: table_name(name, settings.table_prefix) for name in schemas}
    wanted |= {
        f"{name}/{column}": child_table_name(wanted[name], column) for name in schemas for column in children[name]
    }
    identifiers = fitted_names(wanted, dialect.longest_identifier, dialect.fold)
    planned: dict[str, tuple[Table, ...]] = {}
    for endpoint, schema in schemas.items():
        name = identifiers[endpoint]
        apart = children[endpoint]
        table = _table(name, endpoint, [field for field in schema if field.name not in apart], settings, dialect)
        planned[endpoint] = (
            table,
            *(
                _child_table(identifiers[f"{endpoint}/{column}"], table, schema.field(column), settings, dialect)
                for column in apart
            ),
        )
    return planned


def _child_columns(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(field.name for field in schema if _is_list(field.type) and pa.types.is_struct(field.type.value_type))


def _table(name: str, endpoint: str, fields: list[pa.Field], settings: LoadSettings, dialect: Dialect) -> Table:
    appends = settings.mode is Mode.APPEND
    names = _column_names([*(field.name for field in fields), *([LOAD_ID] if appends else [])], dialect)
    columns = [_column(names[field.name], field, dialect) for field in fields]
    has_id = any(field.name == ID and not field.nullable for field in fields)
    key: tuple[str, ...] = (names[ID],) if has_id else ()
    if appends:
        columns.append(Column(names[LOAD_ID], pa.string(), nullable=False))
        key = (*key, names[LOAD_ID]) if key else ()
    return Table(name, endpoint, tuple(columns), key).with_key_columns()


def _child_table(name: str, parent: Table, nested: pa.Field, settings: LoadSettings, dialect: Dialect) -> Table:
    owner = pa.field(PARENT_ID, pa.string(), nullable=False)
    position = pa.field(POSITION, pa.int64(), nullable=False)
    appends = [pa.field(LOAD_ID, pa.string(), nullable=False)] if settings.mode is Mode.APPEND else []
    members = [field for field in nested.type.value_type if field.name not in {PARENT_ID, POSITION, LOAD_ID}]
    fields = [owner, position, *members, *appends]
    names = _column_names([field.name for field in fields], dialect)
    columns = tuple(
        Column(names[LOAD_ID], pa.string(), nullable=False)
        if field.name == LOAD_ID
        else _column(names[field.name], field, dialect)
        for field in fields
    )
    key = tuple(names[field.name] for field in (owner, position, *appends))
    table = Table(name, parent.endpoint, columns, key, parent.name, nested.name).with_key_columns()
    return table if parent.key else replace(table, key=())


def _column_names(names: list[str], dialect: Dialect) -> dict[str, str]:
    return fitted_names({name: name for name in names}, dialect.longest_identifier, dialect.fold)


def _column(name: str, field: pa.Field, dialect: Dialect) -> Column:
    type_ = plain_type(field.type)
    nested = _is_list(type_) or pa.types.is_struct(type_)
    if field.name == EXTRA or (nested and dialect.nested_type(type_) is None):
        return Column(name, pa.string(), json=True, nullable=field.nullable, source=field.name)
    return Column(name, type_, nullable=field.nullable, source=field.name)


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type that means the same among those that readers of Parquet and Delta return."""
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string()
    if _is_list(type_):
        return pa.list_(plain_type(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(member.name, plain_type(member.type)) for member in type_])
    return type_


def _is_list(type_: pa.DataType) -> bool:
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_))
