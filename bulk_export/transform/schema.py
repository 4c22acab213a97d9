"""The Arrow schema of an endpoint: which attributes have a column, and of which type."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct, fold_type
from bulk_export.transform.column_names import can_name_a_column, distinct_names

if TYPE_CHECKING:
    import pyarrow as pa

ID, TYPE, EXTRA = "id", "type", "_extra"
# Columns that only a synced copy has.
SYNCED_AT, REMOVED_AT = "_synced_at", "_removed_at"
# The member of a record that holds its attributes.
ATTRIBUTES = "attributes"

# Columns that exist whatever an endpoint describes. Attributes of these names have none.
RESERVED_NAMES = frozenset({ID, TYPE, EXTRA, SYNCED_AT, REMOVED_AT})
# The Arrow types by the texts that Arrow has for them.
_SCALARS = {
    Kind.STRING: "string",
    Kind.BOOLEAN: "bool",
    Kind.INTEGER: "int64",
    Kind.NUMBER: "double",
    Kind.TIMESTAMP: "timestamp[us, tz=UTC]",
    Kind.DATE: "date32[day]",
}


def arrow_schema(endpoint: Endpoint) -> pa.Schema:
    """The columns of an endpoint: `id`, `type`, the attributes in the order of the description, and `_extra`.

    Every column is nullable except `id`, which is null throughout if the records of the endpoint have no id.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(ID, pa.string(), nullable=not endpoint.shape.id),
            pa.field(TYPE, pa.string()),
            *(pa.field(field.name, arrow_type(field.type)) for field in columns(endpoint)),
            pa.field(EXTRA, pa.string()),
        ]
    )


def arrow_type(declared: FieldType) -> pa.DataType:
    """The Arrow type of a column; not defined for `any`, which has no column."""
    import pyarrow as pa

    return fold_type(
        declared,
        scalar=_arrow_scalars().__getitem__,
        list_of=pa.list_,
        struct=lambda members: pa.struct([pa.field(name, type_) for name, type_ in members]),
    )


@functools.cache
def _arrow_scalars() -> dict[Kind, pa.DataType]:
    import pyarrow as pa

    return {
        Kind.STRING: pa.string(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.INTEGER: pa.int64(),
        Kind.NUMBER: pa.float64(),
        Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
        Kind.DATE: pa.date32(),
    }


def column_types(endpoint: Endpoint) -> list[dict[str, str]]:
    """Names and types of the columns of an endpoint, as `describe` has them for its schema, without Arrow."""
    described = ((field.name, _type_text(field.type)) for field in columns(endpoint))
    names = [(ID, "string"), (TYPE, "string"), *described, (EXTRA, "string")]
    return [{"name": name, "type": text} for name, text in names]


def _type_text(declared: FieldType) -> str:
    return fold_type(
        declared,
        scalar=_SCALARS.__getitem__,
        list_of=lambda item: f"list<item: {item}>",
        struct=lambda members: f"struct<{', '.join(f'{name}: {text}' for name, text in members)}>",
    )


def describe(schema: pa.Schema) -> list[dict[str, str]]:
    """Names and types of columns as a manifest lists them."""
    return [{"name": field.name, "type": str(field.type)} for field in schema]


def columns(endpoint: Endpoint) -> tuple[Field, ...]:
    """The attributes that have a column, with the members that their columns have.

    An attribute has no column if

    1. its name cannot be told from an earlier or reserved one (`with_distinct_names`), or is a reserved one;
    2. its type is `any`, or consists of nothing but `any`;
    3. its type contains an object without described members, which Parquet cannot hold.
    """
    typed = ((field.name, _without_any(field.type)) for field in with_distinct_names(endpoint).fields)
    return tuple(
        Field(name, declared)
        for name, declared in typed
        if declared is not None and name not in RESERVED_NAMES and _parquet_can_hold(declared)
    )


def without_column(endpoint: Endpoint) -> frozenset[str]:
    """The dotted paths of described attributes and members without a column: they go to `_extra`, and are no drift."""
    return frozenset(_paths_without_column(endpoint.fields, columns(endpoint), ""))


def with_distinct_names(endpoint: Endpoint) -> Endpoint:
    """The endpoint without attributes, and members of objects, whose names some reader takes for an earlier one.

    Attributes whose names look like a reserved one, or that no column can have, go as well. Those of exactly a
    reserved name stay, since their values are kept in `_extra` under that name.
    """
    described = {field.name: field for field in endpoint.fields}
    members = [(field.name, _with_distinct_members(field.type)) for field in endpoint.fields]
    kept = {field.name: field for field in _distinct(members, RESERVED_NAMES)}
    fields = (kept.get(name, field) for name, field in described.items() if name in kept or name in RESERVED_NAMES)
    return replace(endpoint, fields=tuple(fields))


def _distinct(members: Sequence[tuple[str, FieldType]], reserved: Iterable[str] = ()) -> tuple[Field, ...]:
    types = {name: declared for name, declared in members if can_name_a_column(name)}
    return tuple(Field(name, types[name]) for name in distinct_names(types, reserved))


def _with_distinct_members(declared: FieldType) -> FieldType:
    def scalar(kind: Kind) -> FieldType:
        return kind

    return fold_type(declared, scalar=scalar, list_of=ListOf, struct=lambda members: Struct(_distinct(members)))


def _without_any(declared: FieldType) -> FieldType | None:
    """The type without what may be of any type, at every level; None if nothing is left of it."""
    return fold_type(
        declared,
        scalar=lambda kind: None if kind is Kind.ANY else kind,
        list_of=lambda item: None if item is None else ListOf(item),
        struct=_typed_struct,
    )


def _typed_struct(members: Sequence[tuple[str, FieldType | None]]) -> FieldType | None:
    typed = tuple(Field(name, declared) for name, declared in members if declared is not None)
    return None if members and not typed else Struct(typed)


def _parquet_can_hold(declared: FieldType) -> bool:
    return fold_type(
        declared,
        scalar=lambda _: True,
        list_of=lambda item: item,
        struct=lambda members: bool(members) and all(can_hold for _, can_hold in members),
    )


def _paths_without_column(described: Iterable[Field], held: Iterable[Field], prefix: str) -> Iterator[str]:
    types = {field.name: field.type for field in held}
    for field in described:
        path = prefix + field.name
        inner, column = field.type, types.get(field.name)
        while isinstance(inner, ListOf) and isinstance(column, ListOf):
            inner, column = inner.item, column.item
        if field.name not in types:
            yield path
        elif isinstance(inner, Struct) and isinstance(column, Struct):
            yield from _paths_without_column(inner.fields, column.fields, f"{path}.")
