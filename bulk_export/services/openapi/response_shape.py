"""Where an answer holds its records, and what a record holds."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.types import ANY, Declared, Schemas

_PREFERRED = ("data", "items", "results", "records", "value", "values", "entries", "content")
_IDENTIFIERS = ("id", "uuid", "guid", "_id")
# They identify a record where the spec says that they do.
_UNIQUE_IF_SAID = ("identifier", "reference", "ref", "code", "key", "number", "slug", "urn")
_UNIQUE = re.compile(r"\bunique", re.IGNORECASE)
_DEEPEST_LIST = 3
_SUCCESS = ("200", "2XX", "2xx", "206", "203", "default")
_OTHER_LISTS = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_TABLES = ("text/csv", "application/csv", "text/comma-separated-values")
_COLUMN = re.compile(r"[\w .()/-]{1,100}")
_SCALAR_IDS = ("string", "integer", "number", "timestamp", "date", ANY)


@dataclass(frozen=True, slots=True)
class ResponseShape:
    """Where the records of an endpoint stand, and what they hold.

    `id` leads from a record to what identifies it, and is empty where nothing does. `record_type` is empty where none
    is named.
    """

    at: tuple[str, ...]
    id: tuple[str, ...]
    id_type: str
    type: tuple[str, ...]
    attributes: tuple[str, ...]
    fields: Mapping[str, Any]
    record_type: str


@dataclass(frozen=True, slots=True)
class ResponseSchema:
    """A successful answer in one form, "json" or "csv", and the schema it is declared with."""

    form: str
    schema: Any


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """Where in a body the list of records is, what a record holds, and which other lists stand beside it."""

    at: tuple[str, ...]
    record: dict[str, Any]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoRecords:
    """Why an answer that holds a list cannot be described."""

    reason: str


def read_answers(schemas: Schemas, operation: Mapping[str, Any], path: str) -> list[ResponseSchema]:
    """The forms of a successful answer that can be read here, JSON first. A path in `.csv` has a table."""
    content = _content(schemas, operation)
    if path.endswith(".csv") and not any("json" in kind for kind in content):
        return [ResponseSchema("csv", _with_example(next(iter(content.values()), {})))]
    found: dict[str, ResponseSchema] = {}
    for kind, value in content.items():
        is_json = kind in ("application/json", "text/json", "*/*", "application/*") or kind.endswith("+json")
        form = "json" if is_json else "csv" if kind in _TABLES else None
        if form is not None:
            found.setdefault(form, ResponseSchema(form, _with_example(value) if form == "csv" else value.get("schema")))
    return [found[form] for form in ("json", "csv") if form in found]


def other_form(schemas: Schemas, operation: Mapping[str, Any], where: str) -> str | None:
    """The media type of a list in a form that cannot be read here, as XML; None where there is none."""
    for kind, value in _content(schemas, operation).items():
        if kind in _OTHER_LISTS or _in_json(schemas.type_of(value.get("schema"), where)) is not None:
            return kind
    return None


def says_nothing(schemas: Schemas, operation: Mapping[str, Any]) -> bool:
    """Whether the spec leaves open what a successful answer holds."""
    content = _content(schemas, operation)
    schemas_given = [value.get("schema") for kind, value in content.items() if "json" in kind or kind == "*/*"]
    return not content or (bool(schemas_given) and all(schema in (None, {}, True) for schema in schemas_given))


def _content(schemas: Schemas, operation: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a successful answer may hold, by media type without parameters."""
    responses = schemas.resolved(operation.get("responses"))
    answer = next((responses[code] for code in _SUCCESS if code in responses), None)
    content = schemas.resolved(answer).get("content")
    return {
        str(media).partition(";")[0].strip().lower(): value
        for media, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Mapping)
    }


def find_records(schemas: Schemas, answer: ResponseSchema, where: str) -> RecordLocation | NoRecords | None:
    """The list of records in an answer; None where the answer is no list."""
    if answer.form == "csv":
        return RecordLocation((), _table_row(schemas, answer.schema, where))
    declared = schemas.type_of(answer.schema, where)
    found = _in_json(declared)
    if (
        found is None
        and declared == ANY
        and any(
            isinstance(_in_json(schemas.type_of(part, where)), RecordLocation)
            for part in schemas.parts(answer.schema, where)
        )
    ):
        return NoRecords("its answer may be a list or something else")
    if (
        found is None
        and declared == {}
        and any(
            isinstance(schemas.type_of(part.get("additionalProperties"), where), dict)
            for part in schemas.parts(answer.schema, where)
        )
    ):
        return NoRecords("its records are the members of an object, not of a list")
    return found


def _in_json(declared: Declared | None, depth: int = 0) -> RecordLocation | NoRecords | None:
    if isinstance(declared, list):
        record = _as_record(declared[0])
        return NoRecords("its list does not hold objects") if record is None else RecordLocation((), record)
    if not isinstance(declared, dict) or depth >= _DEEPEST_LIST:
        return None
    ranked = sorted(declared, key=lambda name: _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED))
    lists = [name for name in ranked if isinstance(declared[name], list)]
    preferred = [name for name in lists if name in _PREFERRED]
    of_objects = [name for name in lists if isinstance(declared[name][0], dict)]
    if "id" in declared and not preferred:
        return None  # a single record that holds lists
    for name in preferred:
        record = _as_record(declared[name][0])
        if record is not None:
            return RecordLocation((name,), record, tuple(other for other in of_objects if other != name))
    if len(of_objects) == 1:
        return RecordLocation((of_objects[0],), declared[of_objects[0]][0])
    for name in ranked:
        below = _in_json(declared[name], depth + 1) if isinstance(declared[name], dict) else None
        if isinstance(below, RecordLocation):
            return RecordLocation((name, *below.at), below.record, below.beside)
    if preferred:
        return NoRecords("its list does not hold objects")
    if of_objects:
        return NoRecords(f"it holds several lists, {', '.join(of_objects)}, and nothing says which has the records")
    return None


def _as_record(item: Any) -> dict[str, Any] | None:
    """What a record in a list holds; nothing is known of one that may be anything. None for what is no object."""
    return item if isinstance(item, dict) else {} if item == ANY else None


def read_shape(
    schemas: Schemas, answer: ResponseSchema, place: RecordLocation, identifier: str | None, name: str, where: str
) -> ResponseShape:
    """The shape of the records at a place. `identifier` is what is known to identify them, `name` their endpoint's."""
    record, is_table = place.record, answer.form == "csv"
    nested = isinstance(record.get("attributes"), dict) and not is_table
    find_schemas = _row_schemas if is_table else _record_schemas
    declared = list(find_schemas(schemas, answer.schema, place.at, where))
    chosen = _identifier(schemas, record, declared, identifier, name, where)
    path: tuple[str, ...] = (chosen,) if chosen else ()
    if nested and not path:
        inner = _identifier(schemas, record["attributes"], [], None, "", where)
        path = ("attributes", inner) if inner else ()
    # Columns that the spec does not name may well have an id among them.
    path = path or (("id",) if not record else ())
    typed = ("type",) if record.get("type") == "string" else ()
    fields = record["attributes"] if nested else record
    # What identifies a record that has its attributes beside it is the column `id`.
    left_out = {"", path[-1] if len(path) == 2 else ""} if nested else {"", "_extra", *path, *typed}
    words = _type_words(schemas, declared, where) if typed else []
    known = fields.get(path[-1]) if len(path) == 2 else record.get(chosen or "")
    return ResponseShape(
        at=place.at,
        id=path,
        id_type="integer" if known in ("integer", "number") else "string",
        type=typed,
        attributes=("attributes",) if nested else (),
        fields={name: value for name, value in fields.items() if name not in left_out},
        record_type=words[0] if words else "",
    )


def _identifier(
    schemas: Schemas, record: Mapping[str, Any], declared: list[Any], known: str | None, endpoint: str, where: str
) -> str | None:
    """The member that tells records apart. In doubt there is none: then nothing is taken for a repetition."""
    scalar = [name for name, value in record.items() if value in _SCALAR_IDS]
    for name in (*_IDENTIFIERS, known):
        if name in scalar:
            return name
    required = {
        name
        for schema in declared
        for part in schemas.parts(schema, where)
        for name in (part["required"] if isinstance(part.get("required"), list) else ())
        if isinstance(name, str)
    }
    for name in scalar:
        if name in required and _plain(name) in {f"{one}id" for one in _singulars(endpoint)}:
            return name
    for name in _UNIQUE_IF_SAID:
        if name in scalar and name in required and any(_is_said_unique(schemas, one, name, where) for one in declared):
            return name
    return None


def _is_said_unique(schemas: Schemas, schema: Any, name: str, where: str) -> bool:
    return any(
        _UNIQUE.search(str(part.get("description") or ""))
        for inner in schemas.member(schema, name, where)
        for part in schemas.parts(inner, where)
    )


def _singulars(endpoint: str) -> set[str]:
    """What one record of an endpoint may be called, by the last word of its name and by all of them."""
    names = {_plain(endpoint), _plain(re.split(r"[-_]", endpoint)[-1])}
    found = set(names)
    for name in names:
        for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
            if name.endswith(ending) and len(name) > len(ending) + 1:
                found.add(name.removesuffix(ending) + instead)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _record_schemas(schemas: Schemas, schema: Any, at: tuple[str, ...], where: str) -> Iterator[Any]:
    """The schemas that a record is declared with."""
    level = [schema]
    for name in at:
        level = [inner for one in level for inner in schemas.member(one, name, where)]
    for one in level:
        yield from schemas.items(one, where)


def _row_schemas(schemas: Schemas, schema: Any, at: tuple[str, ...], where: str) -> Iterator[Any]:
    """The schemas that a row of a table may be declared with."""
    for part in schemas.parts(schema, where):
        yield part
        yield from schemas.items(part, where)
        properties = part.get("properties")
        for inner in properties.values() if isinstance(properties, Mapping) else ():
            yield from schemas.items(inner, where)


def _type_words(schemas: Schemas, declared: list[Any], where: str) -> list[str]:
    """The texts that the `type` of a record may be."""
    kinds = [inner for schema in declared for inner in schemas.member(schema, "type", where)]
    found = [word for one in kinds for word in schemas.words(one, where)]
    examples = [part.get("example") for one in kinds for part in schemas.parts(one, where)]
    return found or [example for example in examples if isinstance(example, str)]


def _with_example(media: Mapping[str, Any]) -> Any:
    """The schema of a table, with the example that stands beside it."""
    schema = media.get("schema")
    shown = media.get("example")
    examples = media.get("examples")
    if shown is None and isinstance(examples, Mapping):
        first = next(iter(examples.values()), None)
        shown = first.get("value") if isinstance(first, Mapping) else None
    return schema if shown is None else {"allOf": [schema if isinstance(schema, Mapping) else {}], "example": shown}


def _table_row(schemas: Schemas, schema: Any, where: str) -> dict[str, Any]:
    """The columns of a table: those of its rows, wherever they are declared, else those of an example; maybe none.

    Tables are declared as lists, as objects that hold one, as rows, and as strings that have the members of one of
    these. Cells are texts, whatever they mean, so that lists and objects are strings here.
    """
    parts = list(schemas.parts(schema, where))
    for part in parts:
        if "properties" not in part and "items" not in part:
            continue
        declared = schemas.type_of({key: part[key] for key in ("properties", "items") if key in part}, where)
        found = _in_json(declared)
        if isinstance(found, RecordLocation) and found.record:
            return _cells(found.record)
        if isinstance(declared, dict) and declared and not any(isinstance(one, list) for one in declared.values()):
            return _cells(declared)
    for part in parts:
        header = _header(part.get("example"))
        if header:
            return dict.fromkeys(header, "string")
    return {}


def _cells(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind if isinstance(kind, str) and kind != ANY else "string" for name, kind in record.items()}


def _header(example: Any) -> list[str]:
    """The names of columns that an example begins with."""
    lines = example.splitlines() if isinstance(example, str) else []
    if len(lines) < 2:
        return []
    names = next(csv.reader([lines[0].removeprefix("\ufeff")]), [])
    return names if len(names) > 1 and all(map(_COLUMN.fullmatch, names)) and len(set(names)) == len(names) else []
