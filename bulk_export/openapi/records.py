"""Where an answer holds its records, and what a record holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.openapi.schemas import Declared, Schemas

_PREFERRED = ("data", "items", "results", "records", "value", "values", "entries", "content")
_IDENTIFIERS = ("id", "uuid", "guid", "_id")
_DEEPEST_LIST = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the records of an endpoint stand, and what they hold. `record_type` is empty where none is named."""

    at: tuple[str, ...]
    id: str
    id_type: str
    type: tuple[str, ...]
    attributes: tuple[str, ...]
    fields: Mapping[str, Any]
    record_type: str


def read_content(schemas: Schemas, operation: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The schema of a successful answer, and whether it is json or csv."""
    responses = schemas.resolved(operation.get("responses"))
    answer = next((responses[code] for code in ("200", "2XX", "2xx", "default") if code in responses), None)
    content = schemas.resolved(answer).get("content")
    if not isinstance(content, Mapping):
        return None
    kinds = {str(media).partition(";")[0].strip().lower(): value for media, value in content.items()}
    for media, value in kinds.items():
        if (media == "application/json" or media.endswith("+json") or media == "*/*") and isinstance(value, Mapping):
            return "json", value.get("schema")
    csv = kinds.get("text/csv")
    return ("csv", csv.get("schema")) if isinstance(csv, Mapping) else None


def find_records(
    declared: Declared | None, *, inside: bool, depth: int = 0
) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Where in a body the list of records is, and what a record holds; the preferred names first."""
    if isinstance(declared, list):
        item = declared[0]
        return ((), item) if isinstance(item, dict) and (item or inside) else None
    if not isinstance(declared, dict) or depth >= _DEEPEST_LIST:
        return None
    ranked = sorted(declared, key=lambda name: _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED))
    lists = [name for name in ranked if isinstance(declared[name], list) and isinstance(declared[name][0], dict)]
    if depth == 0 and "id" in declared and not set(lists) & set(_PREFERRED):
        return None  # a single record that holds lists
    if lists and (lists[0] in _PREFERRED or len(lists) == 1):
        return (lists[0],), declared[lists[0]][0]
    for name in ranked:
        below = (
            find_records(declared[name], inside=inside, depth=depth + 1) if isinstance(declared[name], dict) else None
        )
        if below is not None:
            return (name, *below[0]), below[1]
    return None


def read_shape(
    schemas: Schemas,
    schema: Any,
    found: tuple[tuple[str, ...], dict[str, Any]],
    identifier: str | None,
    form: str,
    where: str,
) -> Shape | None:
    """The shape of the records that `find_records` found; None where nothing identifies them."""
    at, record = found
    own = next((name for name in _IDENTIFIERS if record.get(name) in ("string", "integer")), None)
    chosen = own or (identifier if identifier in record else None)
    if chosen is None:
        return None
    nested = isinstance(record.get("attributes"), dict) and form == "json"
    typed = ("type",) if record.get("type") == "string" else ()
    fields = record["attributes"] if nested else record
    # What identifies a record that has its attributes beside it is the column `id`.
    left_out = {"", "id", *typed, "_extra", *(() if nested else (chosen,))}
    words = _type_words(schemas, schema, at, where) if typed else []
    return Shape(
        at=at if form == "json" else (),
        id=chosen,
        id_type="integer" if record[chosen] == "integer" else "string",
        type=typed,
        attributes=("attributes",) if nested else (),
        fields={name: value for name, value in fields.items() if name not in left_out},
        record_type=words[0] if words else "",
    )


def _type_words(schemas: Schemas, schema: Any, at: tuple[str, ...], where: str) -> list[str]:
    """The texts that the `type` of a record may be."""
    level = [schema]
    for name in at:
        level = [inner for one in level for inner in schemas.member(one, name, where)]
    kinds = [
        inner for one in level for item in schemas.items(one, where) for inner in schemas.member(item, "type", where)
    ]
    found = [word for one in kinds for word in schemas.words(one, where)]
    examples = [part.get("example") for one in kinds for part in schemas.parts(one, where)]
    return found or [example for example in examples if isinstance(example, str)]
