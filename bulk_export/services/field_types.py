"""Field types in the form that descriptions use: one function reads it, one writes it.

A scalar type is written as its name, a list as an array of one type, and an object as a table of its members:
`"string"`, `["date"]`, `{"name": "string"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct, fold_type
from bulk_export.services.toml_table import Table, description_error, suggestion

_KINDS = {kind.value: kind for kind in Kind}
_MAX_DEPTH = 100


def fields_from_table(table: Table, depth: int = 0) -> tuple[Field, ...]:
    """Read the fields that a table declares, in its order.

    Raises:
        UsageError: A type is not written in the form described above, or nested too deeply.
    """
    fields = tuple(
        Field(name, type_from_json(declared, table.at(name), depth)) for name, declared in table.value_items()
    )
    table.done()
    return fields


def type_from_json(declared: Any, path: str, depth: int = 0) -> FieldType:
    """Read one type from TOML or JSON values.

    Args:
        declared: The values.
        path: Where they stand in the description, for error messages.
        depth: How many lists and objects surround them.

    Raises:
        UsageError: They are not a type.
    """
    if depth > _MAX_DEPTH:
        raise description_error(path, f"is nested in more than {_MAX_DEPTH} levels")
    if isinstance(declared, str):
        if declared not in _KINDS:
            raise description_error(path, f"must be one of: {', '.join(_KINDS)}", suggestion(declared, list(_KINDS)))
        return _KINDS[declared]
    if isinstance(declared, list):
        if len(declared) != 1:
            raise description_error(path, "must be a list of one type")
        return ListOf(type_from_json(declared[0], path, depth + 1))
    return Struct(fields_from_table(Table(declared, path), depth + 1))


def type_to_json(declared: FieldType) -> Any:
    """Write one type as JSON values, which `type_from_json` reads.

    >>> type_to_json(ListOf(Kind.INTEGER))
    ['integer']
    """
    return fold_type(declared, scalar=_name, list_of=lambda item: [item], struct=dict)


def fields_to_json(fields: Sequence[Field]) -> dict[str, Any]:
    """The types of fields by name, as JSON values."""
    return {field.name: type_to_json(field.type) for field in fields}


def fields_to_text(endpoint: Endpoint) -> str:
    """The fields of an endpoint as JSON text, for the journal."""
    return json.dumps(fields_to_json(endpoint.fields))


def with_fields(endpoint: Endpoint, text: str) -> Endpoint:
    """The endpoint with the fields that `fields_to_text` wrote.

    Raises:
        ValueError: The text is not JSON.
        UsageError: It does not hold types.
    """
    declared: Mapping[str, Any] = json.loads(text)
    fields = tuple(Field(name, type_from_json(value, name)) for name, value in declared.items())
    return replace(endpoint, fields=fields)


def _name(kind: Kind) -> Any:
    return kind.value
