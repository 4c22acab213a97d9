"""The columns of a copy over time: they are only added to, and none ever changes its type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.errors import DamagedState
from bulk_export.transform import schema
from bulk_export.transform.column_names import comparison_key, distinct_names

# When a poll wrote a row, and when one found the record gone.
OWN = (schema.SYNCED_AT, schema.REMOVED_AT)

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


class UnfitColumns(ValueError):
    """What was fetched has columns that cannot stand beside those of a copy."""


def described_as_copied(endpoint: Endpoint, copied: pa.Schema | None) -> Endpoint:
    """The endpoint with the fields that its copy has as they are there, and those that only one of both knows.

    A described field that readers take for another one of the copy has no column. Raises DamagedState for a column
    that no poll can have written, and for columns that readers take for one.
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
    known = tuple(_field(column) for column in _in_plain_types(copied) if column.name not in schema.RESERVED_NAMES)
    return replace(endpoint, fields=_united(endpoint.fields, known))


def united(copied: pa.Schema | None, fetched: pa.Schema) -> pa.Schema:
    """The columns of a copy after what was fetched is merged into it.

    Raises UnfitColumns where a type would change, or two names would be alike.
    """
    fetched = _in_plain_types(fetched)
    columns = [column for column in fetched if column.name not in (schema.EXTRA, *OWN)]
    if copied is not None:
        own = _in_plain_types(copied)
        columns = list(_united_columns([column for column in own if column.name not in (schema.EXTRA, *OWN)], columns))
    instant = pa.timestamp("us", "UTC")
    wanted = pa.schema([*columns, pa.field(schema.EXTRA, pa.string()), *(pa.field(name, instant) for name in OWN)])
    if alike := _alike(wanted):
        raise UnfitColumns(f"most readers take the columns {' and '.join(map(repr, alike))} for one")
    return wanted


def is_only_added_to(copied: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether each column of the copy keeps its type, down to the members of objects, and may hold what it could."""
    return all(
        wanted.field(column.name).type == column.type and wanted.field(column.name).nullable == column.nullable
        for column in _in_plain_types(copied)
    )


def _united(described: tuple[Field, ...], copied: tuple[Field, ...]) -> tuple[Field, ...]:
    there = {one.name: one.type for one in copied}
    names = [one.name for one in described]
    # What the copy has keeps its column, however the description may call it now.
    new = set(distinct_names([name for name in names if name not in there], there))
    kept = tuple(
        Field(one.name, _united_type(one.type, there[one.name])) if one.name in there else one
        for one in described
        if one.name in there or one.name in new
    )
    return kept + tuple(one for one in copied if one.name not in names)


def _alike(columns: Iterable[pa.Field]) -> list[str]:
    """The names of columns, or of members of one object, that readers take for one; none where there are no such."""
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


def _united_type(described: FieldType, copied: FieldType) -> FieldType:
    if isinstance(described, ListOf) and isinstance(copied, ListOf):
        return ListOf(_united_type(described.item, copied.item))
    if isinstance(described, Struct) and isinstance(copied, Struct):
        return Struct(_united(described.fields, copied.fields))
    return copied


def _united_columns(copied: list[pa.Field], fetched: list[pa.Field]) -> list[pa.Field]:
    added = {column.name: column for column in fetched}
    kept = [_united_column(column, added.pop(column.name)) if column.name in added else column for column in copied]
    return [*kept, *added.values()]


def _united_column(copied: pa.Field, fetched: pa.Field) -> pa.Field:
    column = copied.with_type(_united_arrow(copied.type, fetched.type))
    return column.with_nullable(copied.nullable or fetched.nullable)


def _united_arrow(copied: pa.DataType, fetched: pa.DataType) -> pa.DataType:
    if pa.types.is_list(copied) and pa.types.is_list(fetched):
        return pa.list_(_united_arrow(copied.value_type, fetched.value_type))
    if pa.types.is_struct(copied) and pa.types.is_struct(fetched):
        return pa.struct(_united_columns(list(copied), list(fetched)))
    if copied != fetched:
        raise UnfitColumns(f"a column of {copied} would become one of {fetched}")
    return copied


def _field(column: pa.Field) -> Field:
    return Field(column.name, _declared(column.type))


def _declared(type_: pa.DataType) -> FieldType:
    if pa.types.is_list(type_):
        return ListOf(_declared(type_.value_type))
    if pa.types.is_struct(type_):
        return Struct(tuple(map(_field, type_)))
    return _kind(type_)


def _in_plain_types(wide: pa.Schema) -> pa.Schema:
    return pa.schema([column.with_type(_plain(column.type)).remove_metadata() for column in wide])


def _plain(type_: pa.DataType) -> pa.DataType:
    """One spelling for what is the same in Arrow, whoever wrote it: list elements have names, strings have sizes."""
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return pa.list_(_plain(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(member.name, _plain(member.type)) for member in type_])
    return schema.arrow_type(_kind(type_))


def _kind(type_: pa.DataType) -> Kind:
    if type_ not in _KINDS:
        raise DamagedState(
            f"The copy has a column of type {type_}, which no poll writes.",
            kept="Nothing was changed.",
            next_step="Restore the table, or choose another --output to start a new copy.",
        )
    return _KINDS[type_]
