"""Where a response body has its list of records, and which fields a record has."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.services.openapi.responses import ResponseSchema
from bulk_export.services.openapi.types import ANY, Declared, Schemas

# Members that usually have the records, the likeliest first.
_PREFERRED = ("data", "items", "results", "records", "value", "values", "entries", "content")
_DEEPEST_LIST = 3
_JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_COLUMN_NAME = re.compile(r"[\w .()/-]{1,100}")


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """The list of records in a response body.

    Attributes:
        at: The path to the list; empty if the body is the list.
        record: The type of each member of a record; empty if not known.
        other_lists: The other lists of objects beside it.
    """

    at: tuple[str, ...]
    record: dict[str, Any]
    other_lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnsupportedList:
    """A list in a response that cannot be described, with the reason."""

    reason: str


_NOT_OBJECTS = UnsupportedList("its list does not contain objects")


def find_records(schemas: Schemas, response: ResponseSchema) -> RecordLocation | UnsupportedList | None:
    """Find the list of records in a response; None if the response is not a list."""
    if response.format == "csv":
        return RecordLocation((), _csv_columns(schemas, response.schema))
    declared = schemas.type_of(response.schema)
    listed = _find_list(declared)
    if listed is not None:
        return listed
    if declared == ANY and any(
        isinstance(_find_list(schemas.type_of(part)), RecordLocation)
        for part in schemas.with_subschemas(response.schema)
    ):
        return UnsupportedList("its response may be a list or something else")
    if declared == {} and any(
        isinstance(schemas.type_of(part.get("additionalProperties")), dict)
        for part in schemas.with_subschemas(response.schema)
    ):
        return UnsupportedList("its records are the members of an object, not of a list")
    return None


def is_list(schemas: Schemas, media_type: str, schema: Any) -> bool:
    """Whether a response of any media type is a list, by its media type or its schema."""
    return media_type in _JSON_LINES or _find_list(schemas.type_of(schema)) is not None


def _find_list(declared: Declared | None, depth: int = 0) -> RecordLocation | UnsupportedList | None:
    # 1. The body itself is a list.
    if isinstance(declared, list):
        record = _as_record(declared[0])
        return _NOT_OBJECTS if record is None else RecordLocation((), record)
    if not isinstance(declared, dict) or depth >= _DEEPEST_LIST:
        return None
    ranked = sorted(declared, key=lambda name: _PREFERRED.index(name) if name in _PREFERRED else len(_PREFERRED))
    lists = [name for name in ranked if isinstance(declared[name], list)]
    preferred = [name for name in lists if name in _PREFERRED]
    of_objects = [name for name in lists if isinstance(declared[name][0], dict)]
    # 2. The body is a single record that has lists.
    if "id" in declared and not preferred:
        return None
    # 3. A member with a usual name, or the only list of objects.
    for name in preferred:
        record = _as_record(declared[name][0])
        if record is not None:
            return RecordLocation((name,), record, tuple(other for other in of_objects if other != name))
    if len(of_objects) == 1:
        return RecordLocation((of_objects[0],), declared[of_objects[0]][0])
    # 4. A list in a member that is an object.
    for name in ranked:
        below = _find_list(declared[name], depth + 1) if isinstance(declared[name], dict) else None
        if isinstance(below, RecordLocation):
            return RecordLocation((name, *below.at), below.record, below.other_lists)
    if preferred:
        return _NOT_OBJECTS
    if of_objects:
        return UnsupportedList(
            f"it has several lists ({', '.join(of_objects)}), and which has the records is not known"
        )
    return None


def _as_record(item: Any) -> dict[str, Any] | None:
    """Return the members of a list's element; none if it may be anything; None if it is not an object."""
    return item if isinstance(item, dict) else {} if item == ANY else None


def _csv_columns(schemas: Schemas, schema: Any) -> dict[str, Any]:
    """Return the columns of CSV with their types; empty if they are not declared.

    The schema may be that of a list, of an object that has one, of a row, or of a string with the keywords of one of
    these. Otherwise an example shows the columns. Cells are text, so lists and objects become strings.
    """
    parts = list(schemas.with_subschemas(schema))
    for part in parts:
        if "properties" not in part and "items" not in part:
            continue
        declared = schemas.type_of({key: part[key] for key in ("properties", "items") if key in part})
        listed = _find_list(declared)
        if isinstance(listed, RecordLocation) and listed.record:
            return _as_cells(listed.record)
        if (
            isinstance(declared, dict)
            and declared
            and not any(isinstance(member, list) for member in declared.values())
        ):
            return _as_cells(declared)
    for part in parts:
        header = _header(part.get("example"))
        if header:
            return dict.fromkeys(header, "string")
    return {}


def _as_cells(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind if isinstance(kind, str) and kind != ANY else "string" for name, kind in record.items()}


def _header(example: Any) -> list[str]:
    """Return the column names in the first line of an example; empty if they are implausible."""
    lines = example.splitlines() if isinstance(example, str) else []
    if len(lines) < 2:
        return []
    names = next(csv.reader([lines[0].removeprefix("\ufeff")]), [])
    is_plausible = len(names) > 1 and all(map(_COLUMN_NAME.fullmatch, names)) and len(set(names)) == len(names)
    return names if is_plausible else []
