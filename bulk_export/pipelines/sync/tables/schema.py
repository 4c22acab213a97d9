"""The columns of a table: they are only added to, none ever changes its type, and some identify a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.errors import DamagedState
from bulk_export.transform import schema
from bulk_export.transform.column_names import comparison_key, distinct_names
from bulk_export.transform.decode import identity_columns

# The columns that sync adds: when a poll wrote a row, and when one found the record gone.
SYNC_COLUMNS = (schema.SYNCED_AT, schema.REMOVED_AT)

# A column, or a member of a column that holds objects.
ColumnPath = tuple[str, ...]

_KINDS = {
    pa.string(): Kind.STRING,
    pa.large_string(): Kind.STRING,
    pa.string_view(): Kind.STRING,
    pa.bool_(): Kind.BOOLEAN,
    pa.int64(): Kind.INTEGER,
    pa.float64(): Kind.NUMBER,
    pa.timestamp("us", "UTC"): Kind.TIMESTAMP,
    pa.date32(): Kind.DATE,
}


class IncompatibleColumns(ValueError):
    """The columns that were fetched cannot be merged into those of the table."""


def merge_key(endpoint: Endpoint, columns: pa.Schema) -> tuple[ColumnPath, ...]:
    """Return the columns whose values together identify a row of an endpoint's table.

    1. They are those of the record's identity, as the description gives it.
    2. If a part of the identity has no scalar column (it was dropped, or no schema has it), the id is the key.
    3. Rows may then share their key, as they may in any table; `TableDiff` matches such rows by their content.
    """
    paths = identity_columns(endpoint.shape)
    if paths is None or not all(_is_scalar(path, columns) for path in paths):
        return ((schema.ID,),)
    return paths


def as_copied(endpoint: Endpoint, copied: pa.Schema | None) -> Endpoint:
    """Return the endpoint with the fields of its table added, and with the table's types for fields that both have.

    A described field has no column if most readers would confuse its name with that of another column.

    Raises:
        DamagedState: The table has a column that no poll writes, or two whose names most readers confuse.
    """
    if copied is None:
        return endpoint
    if alike := _alike(copied):
        raise DamagedState(
            f"The copy of {endpoint.name} has columns that most readers take for one: {', '.join(map(repr, alike))}.",
            kept="Nothing was changed.",
            next_step="An earlier version may have mixed up their values. Choose another --output to start a new copy,"
            " in which only the first of them is a column.",
        )
    known = tuple(_field(column) for column in _normalized(copied) if column.name not in schema.RESERVED_NAMES)
    return replace(endpoint, fields=_merged_fields(endpoint.fields, known))


def merged_schema(copied: pa.Schema | None, fetched: pa.Schema) -> pa.Schema:
    """Return the columns of a table after records with the columns `fetched` are merged into it.

    Raises:
        IncompatibleColumns: A type would change, or most readers would confuse two names.
    """
    fetched = _normalized(fetched)
    columns = [column for column in fetched if column.name not in (schema.EXTRA, *SYNC_COLUMNS)]
    if copied is not None:
        current = _normalized(copied)
        columns = list(
            _merged_columns([column for column in current if column.name not in (schema.EXTRA, *SYNC_COLUMNS)], columns)
        )
    instant = pa.timestamp("us", "UTC")
    result = pa.schema(
        [*columns, pa.field(schema.EXTRA, pa.string()), *(pa.field(name, instant) for name in SYNC_COLUMNS)]
    )
    if alike := _alike(result):
        raise IncompatibleColumns(f"most readers take the columns {' and '.join(map(repr, alike))} for one")
    return result


def keeps_columns(copied: pa.Schema, result: pa.Schema) -> bool:
    """Whether `result` has each column of the table with the same type, members of objects and nullability."""
    return all(
        result.field(column.name).type == column.type and result.field(column.name).nullable == column.nullable
        for column in _normalized(copied)
    )


def _is_scalar(path: ColumnPath, columns: pa.Schema) -> bool:
    """Whether there is such a column, or member, and it holds single values."""
    type_: pa.DataType = pa.struct(list(columns))
    for name in path:
        if not pa.types.is_struct(type_):
            return False
        index = type_.get_field_index(name)
        if index < 0:
            return False
        type_ = type_.field(index).type
    return not pa.types.is_nested(type_)


def _merged_fields(described: tuple[Field, ...], copied: tuple[Field, ...]) -> tuple[Field, ...]:
    types = {field.name: field.type for field in copied}
    names = [field.name for field in described]
    # A column of the table wins over a new field whose name differs from it only in ways that readers ignore.
    new = set(distinct_names([name for name in names if name not in types], types))
    kept = tuple(
        Field(field.name, _merged_type(field.type, types[field.name])) if field.name in types else field
        for field in described
        if field.name in types or field.name in new
    )
    return kept + tuple(field for field in copied if field.name not in names)


def _alike(columns: Iterable[pa.Field]) -> list[str]:
    """Names of columns, or of members of one object, that most readers confuse; empty if there are none."""
    by_name = {column.name: column for column in columns}
    kept = set(distinct_names(by_name))
    for name in by_name:
        if name not in kept:
            return [other for other in by_name if comparison_key(other) == comparison_key(name)]
    inside = (_alike(_members(column.type)) for column in by_name.values())
    return next(filter(None, inside), [])


def _members(type_: pa.DataType) -> Iterable[pa.Field]:
    while pa.types.is_list(type_) or pa.types.is_large_list(type_):
        type_ = type_.value_type
    return list(type_) if pa.types.is_struct(type_) else ()


def _merged_type(described: FieldType, copied: FieldType) -> FieldType:
    if isinstance(described, ListOf) and isinstance(copied, ListOf):
        return ListOf(_merged_type(described.item, copied.item))
    if isinstance(described, Struct) and isinstance(copied, Struct):
        return Struct(_merged_fields(described.fields, copied.fields))
    return copied


def _merged_columns(copied: list[pa.Field], fetched: list[pa.Field]) -> list[pa.Field]:
    added = {column.name: column for column in fetched}
    kept = [_merged_column(column, added.pop(column.name)) if column.name in added else column for column in copied]
    return [*kept, *added.values()]


def _merged_column(copied: pa.Field, fetched: pa.Field) -> pa.Field:
    column = copied.with_type(_merged_arrow_type(copied.type, fetched.type))
    return column.with_nullable(copied.nullable or fetched.nullable)


def _merged_arrow_type(copied: pa.DataType, fetched: pa.DataType) -> pa.DataType:
    if pa.types.is_list(copied) and pa.types.is_list(fetched):
        return pa.list_(_merged_arrow_type(copied.value_type, fetched.value_type))
    if pa.types.is_struct(copied) and pa.types.is_struct(fetched):
        return pa.struct(_merged_columns(list(copied), list(fetched)))
    if copied != fetched:
        raise IncompatibleColumns(f"a column of {copied} would become one of {fetched}")
    return copied


def _field(column: pa.Field) -> Field:
    return Field(column.name, _field_type(column.type))


def _field_type(type_: pa.DataType) -> FieldType:
    if pa.types.is_list(type_):
        return ListOf(_field_type(type_.value_type))
    if pa.types.is_struct(type_):
        return Struct(tuple(map(_field, type_)))
    return _kind(type_)


def _normalized(wide: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_type(_normalized_type(column.type)).remove_metadata() for column in wide])


def _normalized_type(type_: pa.DataType) -> pa.DataType:
    """One of several Arrow types that mean the same: large and small lists and strings, names of list elements."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(_normalized_type(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(member.name, _normalized_type(member.type)) for member in type_])
    return schema.arrow_type(_kind(type_))


def _kind(type_: pa.DataType) -> Kind:
    if type_ not in _KINDS:
        raise DamagedState(
            f"The copy has a column of type {type_}, which no poll writes.",
            kept="Nothing was changed.",
            next_step="Restore the table, or choose another --output to start a new copy.",
        )
    return _KINDS[type_]
