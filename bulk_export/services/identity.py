"""The values that identify a record, as a description states them: the id, or one or several other fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulk_export.core.model import RecordShape
from bulk_export.services.toml_table import Table, description_error

Path = tuple[str, ...]


def read_identity(
    table: Table, default: RecordShape, attributes: Sequence[str], *, is_row: bool = False
) -> tuple[Path, tuple[Path, ...]]:
    """Return the path of the id, and the paths of the values that identify a record if the id alone does not.

    `identity` states the fields. So does `id` if it cannot be the path of one value: if it has a dotted path to a value
    in another member, or several columns. Then the path of the id is the default one.

    Args:
        table: The `records` table.
        default: What the service states for all its endpoints.
        attributes: The path of the attributes.
        is_row: Whether records are rows of CSV.

    Raises:
        UsageError: If both `id` and `identity` state fields, or a path is malformed.
    """
    path = table.strings("id", default.id)
    names_fields = "id" in table and _names_fields(path, attributes, is_row=is_row)
    if names_fields and "identity" in table:
        raise description_error(table.at("id"), "and identity both state what identifies a record: remove one of them")
    if names_fields:
        fields = _paths(list(path), table.at("id"), is_row=is_row)
        path = default.id
    elif "identity" in table:
        fields = _paths(table.value("identity", []), table.at("identity"), is_row=is_row)
    else:
        fields = () if "id" in table else default.identity
    return path, () if fields == (path,) else fields


def as_columns(identity: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths that identify a record in CSV, by those in JSON."""
    return tuple(path[-1:] for path in identity)


def _names_fields(given: Path, attributes: Sequence[str], *, is_row: bool) -> bool:
    """Whether `id` is a list of fields, not the path of one value.

    A single name with a dot is the name of a member if attributes are members of the record itself.
    """
    if is_row:
        return len(given) > 1
    return any("." in name for name in given) and (len(given) > 1 or bool(attributes))


def _paths(given: Any, where: str, *, is_row: bool) -> tuple[Path, ...]:
    """Return paths that are written with dots or as lists of names. Column names may contain dots."""
    entries = list(given) if isinstance(given, list | tuple) else [None]
    paths = tuple(_path(entry, is_row=is_row) for entry in entries)
    if not all(path and all(path) for path in paths):
        raise description_error(
            where, "must be a list of paths like attributes.training_record_id, or of lists of names"
        )
    if len(set(paths)) < len(paths):
        raise description_error(where, "has a value twice")
    return paths


def _path(entry: Any, *, is_row: bool) -> Path:
    """Return one path; an empty one, or one with an empty name, if it is malformed."""
    if isinstance(entry, str):
        return (entry,) if is_row else tuple(entry.split("."))
    if isinstance(entry, list | tuple) and all(isinstance(name, str) for name in entry):
        return tuple(entry)
    return ()
