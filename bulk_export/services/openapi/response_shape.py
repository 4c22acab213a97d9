"""The shape of an operation's records: their id, type and attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.record_location import RecordLocation
from bulk_export.services.openapi.responses import ResponseSchema
from bulk_export.services.openapi.types import ANY, Schemas

_IDS = ("id", "uuid", "guid", "_id")
# They identify a record only if the document says that they are unique.
_POSSIBLE_IDS = ("identifier", "reference", "ref", "code", "key", "number", "slug", "urn")
_UNIQUE = re.compile(r"\bunique", re.IGNORECASE)
_ID_TYPES = ("string", "integer", "number", "timestamp", "date", ANY)


@dataclass(frozen=True, slots=True)
class ResponseShape:
    """The paths to the records of a response and to the parts of a record, as in `model.RecordShape`.

    Attributes:
        at: From the body to the list of records.
        id: From a record to its id; empty if nothing identifies records.
        id_type: `string` or `integer`.
        type: From a record to its type; empty if records have no type.
        attributes: From a record to its attributes; empty if they are members of the record itself.
        fields: The attributes by name, with their types.
        record_type: The value of the type; empty if not known.
    """

    at: tuple[str, ...]
    id: tuple[str, ...]
    id_type: str
    type: tuple[str, ...]
    attributes: tuple[str, ...]
    fields: Mapping[str, Any]
    record_type: str


def read_shape(
    schemas: Schemas, response: ResponseSchema, location: RecordLocation, known_id: str | None, name: str
) -> ResponseShape:
    """Return the shape of the records at a location.

    Args:
        schemas: The schemas of the document.
        response: The response that has the records.
        location: The list of records in it.
        known_id: The member that is known to identify the records; None if it is to be found.
        name: The name of the endpoint, which the name of an id may repeat.
    """
    record, is_csv = location.record, response.format == "csv"
    is_nested = isinstance(record.get("attributes"), dict) and not is_csv
    record_schemas = list(
        _row_schemas(schemas, response.schema) if is_csv else _record_schemas(schemas, response.schema, location.at)
    )
    id_member = _find_id(schemas, record, record_schemas, known_id, name)
    path: tuple[str, ...] = (id_member,) if id_member else ()
    if is_nested and not path:
        nested_id = _find_id(schemas, record["attributes"], [], None, "")
        path = ("attributes", nested_id) if nested_id else ()
    # Columns that the document does not name usually include an id.
    path = path or (("id",) if not record else ())
    type_path = ("type",) if record.get("type") == "string" else ()
    fields = record["attributes"] if is_nested else record
    # The id and the type have columns of their own, and so are no fields.
    no_fields = {"", path[-1] if len(path) == 2 else ""} if is_nested else {"", "_extra", *path, *type_path}
    types = _type_values(schemas, record_schemas) if type_path else []
    id_type = fields.get(path[-1]) if len(path) == 2 else record.get(id_member or "")
    return ResponseShape(
        at=location.at,
        id=path,
        id_type="integer" if id_type in ("integer", "number") else "string",
        type=type_path,
        attributes=("attributes",) if is_nested else (),
        fields={field: declared for field, declared in fields.items() if field not in no_fields},
        record_type=types[0] if types else "",
    )


def _find_id(
    schemas: Schemas,
    record: Mapping[str, Any],
    record_schemas: Sequence[Any],
    known_id: str | None,
    endpoint: str,
) -> str | None:
    """Return the member that identifies a record; None in doubt, since a wrong one would remove records."""
    scalars = [name for name, declared in record.items() if declared in _ID_TYPES]
    # 1. A usual name, or the one that is known.
    for name in (*_IDS, known_id):
        if name in scalars:
            return name
    required = {
        name
        for schema in record_schemas
        for part in schemas.with_subschemas(schema)
        for name in (part["required"] if isinstance(part.get("required"), list) else ())
        if isinstance(name, str)
    }
    # 2. A required member called like the endpoint: `box_id` of boxes.
    for name in scalars:
        if name in required and _letters(name) in {f"{singular}id" for singular in _singulars(endpoint)}:
            return name
    # 3. A required member that is said to be unique.
    for name in _POSSIBLE_IDS:
        if name in scalars and name in required and _is_unique(schemas, record_schemas, name):
            return name
    return None


def _is_unique(schemas: Schemas, record_schemas: Sequence[Any], name: str) -> bool:
    return any(
        _UNIQUE.search(str(part.get("description") or ""))
        for schema in record_schemas
        for declared in schemas.property_schemas(schema, name)
        for part in schemas.with_subschemas(declared)
    )


def _singulars(endpoint: str) -> set[str]:
    """Return what a single record may be called, from the complete name of the endpoint and from its last word."""
    names = {_letters(endpoint), _letters(re.split(r"[-_]", endpoint)[-1])}
    singulars = set(names)
    for name in names:
        for plural, singular in (("ies", "y"), ("es", ""), ("s", "")):
            if name.endswith(plural) and len(name) > len(plural) + 1:
                singulars.add(name.removesuffix(plural) + singular)
    return singulars


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _record_schemas(schemas: Schemas, schema: Any, at: tuple[str, ...]) -> Iterator[Any]:
    lists = [schema]
    for name in at:
        lists = [declared for parent in lists for declared in schemas.property_schemas(parent, name)]
    for declared in lists:
        yield from schemas.item_schemas(declared)


def _row_schemas(schemas: Schemas, schema: Any) -> Iterator[Any]:
    """Yield the schemas that may be that of a row of CSV."""
    for part in schemas.with_subschemas(schema):
        yield part
        yield from schemas.item_schemas(part)
        properties = part.get("properties")
        for declared in properties.values() if isinstance(properties, Mapping) else ():
            yield from schemas.item_schemas(declared)


def _type_values(schemas: Schemas, record_schemas: Sequence[Any]) -> list[str]:
    """Return the values of a record's `type`, from its enum or else from examples."""
    declared = [type_schema for schema in record_schemas for type_schema in schemas.property_schemas(schema, "type")]
    values = [value for schema in declared for value in schemas.enum_strings(schema)]
    examples = [part.get("example") for schema in declared for part in schemas.with_subschemas(schema)]
    return values or [example for example in examples if isinstance(example, str)]
