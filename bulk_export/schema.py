"""Arrow types for described fields, and their names in a manifest."""

from __future__ import annotations

import pyarrow as pa

from bulk_export.model import Endpoint, Field, FieldType, Kind, ListOf

ID, TYPE, EXTRA = "id", "type", "_extra"
# What a synced copy says of its rows.
SYNCED_AT, REMOVED_AT = "_synced_at", "_removed_at"
# The member of a record that holds its attributes.
ATTRIBUTES = "attributes"

_TAKEN = {ID, TYPE, EXTRA, SYNCED_AT, REMOVED_AT}
_SCALARS: dict[Kind, pa.DataType] = {
    Kind.STRING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.INTEGER: pa.int64(),
    Kind.NUMBER: pa.float64(),
    Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
    Kind.DATE: pa.date32(),
}


def columns(endpoint: Endpoint) -> tuple[Field, ...]:
    """The attributes that have a column of their own.

    All but those named like a column that an export or a copy has anyway, and those with an object of no described
    members, which Parquet cannot hold.
    """
    return tuple(field for field in endpoint.fields if field.name not in _TAKEN and _can_hold(field.type))


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
    """`id`, `type`, the attributes in the catalogue's order, and `_extra`; everything nullable except `id`."""
    return pa.schema(
        [
            pa.field(ID, pa.string(), nullable=False),
            pa.field(TYPE, pa.string()),
            *(pa.field(field.name, arrow_type(field.type)) for field in columns(endpoint)),
            pa.field(EXTRA, pa.string()),
        ]
    )


def describe(schema: pa.Schema) -> list[dict[str, str]]:
    """Columns and types as a manifest lists them."""
    return [{"name": field.name, "type": str(field.type)} for field in schema]
