"""Types of fields as descriptions write them: the name of a kind, a list of one type, or a table of members."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from bulk_export.services.toml_table import Table, description_error, suggestion

_KINDS = {kind.value: kind for kind in Kind}
_DEEPEST = 100


def fields_of(table: Table, depth: int = 0) -> tuple[Field, ...]:
    """The fields that a table describes, each by its name. Raises UsageError."""
    fields = tuple(Field(name, field_type(declared, table.at(name), depth)) for name, declared in table.value_items())
    table.done()
    return fields


def field_type(declared: Any, path: str, depth: int = 0) -> FieldType:
    """A type as descriptions write it; `path` is where it stands. Raises UsageError."""
    if depth > _DEEPEST:
        raise description_error(path, f"is nested in more than {_DEEPEST} levels")
    if isinstance(declared, str):
        if declared not in _KINDS:
            raise description_error(path, f"must be one of: {', '.join(_KINDS)}", suggestion(declared, list(_KINDS)))
        return _KINDS[declared]
    if isinstance(declared, list):
        if len(declared) != 1:
            raise description_error(path, "must be a list of one type")
        return ListOf(field_type(declared[0], path, depth + 1))
    return Struct(fields_of(Table(declared, path), depth + 1))


def fields_to_text(endpoint: Endpoint) -> str:
    """The fields of an endpoint as JSON, in the form that descriptions have."""
    return json.dumps({one.name: _declared(one.type) for one in endpoint.fields})


def with_fields(endpoint: Endpoint, text: str) -> Endpoint:
    """An endpoint with the fields of `fields_to_text`."""
    declared: Mapping[str, Any] = json.loads(text)
    return replace(endpoint, fields=tuple(Field(name, field_type(one, name)) for name, one in declared.items()))


def _declared(declared: FieldType) -> Any:
    if isinstance(declared, Kind):
        return declared.value
    if isinstance(declared, ListOf):
        return [_declared(declared.item)]
    return {one.name: _declared(one.type) for one in declared.fields}
