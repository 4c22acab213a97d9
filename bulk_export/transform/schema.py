"""Arrow types for described fields, and their names in a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.transform.column_names import can_name_a_column, distinct

ID, TYPE, EXTRA = "id", "type", "_extra"
# What a synced copy says of its rows.
SYNCED_AT, REMOVED_AT = "_synced_at", "_removed_at"
# The member of a record that holds its attributes.
ATTRIBUTES = "attributes"

# The columns that an export or a copy has anyway.
TAKEN = frozenset({ID, TYPE, EXTRA, SYNCED_AT, REMOVED_AT})
_SCALARS: dict[Kind, pa.DataType] = {
    Kind.STRING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
    Kind.DATE: pa.date32(),
}


def columns(endpoint: Endpoint) -> tuple[Field, ...]:
    """The attributes that have a column of their own, with the members that their columns have.

    All but those that `with_names_apart` leaves out, those named like a column that an export or a copy has anyway,
    those that may be of any type, and those with an object of no described members, which Parquet cannot hold.
    """
    fields = _typed(with_names_apart(endpoint).fields)
    return tuple(field for field in fields if field.name not in TAKEN and _can_hold(field.type))


def with_names_apart(endpoint: Endpoint) -> Endpoint:
    """The endpoint without attributes, and without members of objects, that some reader would take for an earlier one.

    Attributes are told from the columns that there are anyway, too, but for those of exactly their names, which stay.
    Names that no column can have are left out as well.
    """
    described = {field.name: field for field in endpoint.fields}
    apart = {field.name: field for field in _apart(endpoint.fields, TAKEN)}
    fields = (apart.get(name, field) for name, field in described.items() if name in apart or name in TAKEN)
    return replace(endpoint, fields=tuple(fields))


def _apart(fields: Iterable[Field], taken: Iterable[str]) -> tuple[Field, ...]:
    types = {field.name: field.type for field in fields if can_name_a_column(field.name)}
    return tuple(Field(name, _members_apart(types[name])) for name in distinct(types, taken))


def _members_apart(declared: FieldType) -> FieldType:
    if isinstance(declared, ListOf):
        return ListOf(_members_apart(declared.item))
    return Struct(_apart(declared.fields, ())) if isinstance(declared, Struct) else declared


def without_column(endpoint: Endpoint) -> frozenset[str]:
    """The dotted paths of what is described, but has no column: it goes to `_extra`, and is no drift."""
    return frozenset(_lacking(endpoint.fields, columns(endpoint), ""))


def _lacking(described: Iterable[Field], held: Iterable[Field], prefix: str) -> Iterator[str]:
    types = {field.name: field.type for field in held}
    for field in described:
        path = prefix + field.name
        inner, column = field.type, types.get(field.name)
        while isinstance(inner, ListOf) and isinstance(column, ListOf):
            inner, column = inner.item, column.item
        if field.name not in types:
            yield path
        elif isinstance(inner, Struct) and isinstance(column, Struct):
            yield from _lacking(inner.fields, column.fields, f"{path}.")


def _typed(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields without what may be of any type, at every level."""
    return tuple(Field(field.name, kept) for field in fields if (kept := _typed_part(field.type)) is not None)


def _typed_part(declared: FieldType) -> FieldType | None:
    if isinstance(declared, ListOf):
        item = _typed_part(declared.item)
        return None if item is None else ListOf(item)
    if isinstance(declared, Struct):
        kept = _typed(declared.fields)
        return None if declared.fields and not kept else Struct(kept)
    return None if declared is Kind.ANY else declared


def _can_hold(declared: FieldType) -> bool:
    if isinstance(declared, Kind):
        return True
    if isinstance(declared, ListOf):
        return _can_hold(declared.item)
    return bool(declared.fields) and all(_can_hold(field.type) for field in declared.fields)


def arrow_type(declared: FieldType) -> pa.DataType:
    """The Arrow type of a column for values declared so."""
    if isinstance(declared, Kind):
        return _SCALARS[declared]
    if isinstance(declared, ListOf):
        return pa.list_(arrow_type(declared.item))
    return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in declared.fields])


def arrow_schema(endpoint: Endpoint) -> pa.Schema:
    """`id`, `type`, the attributes in the catalogue's order, and `_extra`.

    Everything is nullable except `id`, and that is null throughout where records have none.
    """
    return pa.schema(
        [
            pa.field(ID, pa.string(), nullable=not endpoint.shape.id),
            pa.field(TYPE, pa.string()),
            *(pa.field(field.name, arrow_type(field.type)) for field in columns(endpoint)),
            pa.field(EXTRA, pa.string()),
        ]
    )


def describe(schema: pa.Schema) -> list[dict[str, str]]:
    """Columns and types as a manifest lists them."""
    return [{"name": field.name, "type": str(field.type)} for field in schema]
