"""What a description says of the values that identify a record: its id, or other fields, one or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulk_export.core.model import RecordShape
from bulk_export.services.toml_table import Table, description_error

Path = tuple[str, ...]


def read_identity(
    table: Table, default: RecordShape, attributes: Sequence[str], *, is_row: bool = False
) -> tuple[Path, tuple[Path, ...]]:
    """The path of the id, and the paths of the values that identify a record, none where the id alone does.

    Fields are named by `identity`, or by `id` where it cannot be the path of one value: with a dotted path to what
    stands in another member, or (`is_row`) with several columns of a table. The id then stays where it was.
    Raises UsageError.
    """
    path = table.texts("id", default.id)
    names_fields = "id" in table and _names_fields(path, attributes, is_row=is_row)
    if names_fields and "identity" in table:
        raise description_error(
            table.at("id"), "names what identifies a record, and so does identity: only one of them may"
        )
    if names_fields:
        fields = _paths(list(path), table.at("id"), is_row=is_row)
        path = default.id
    elif "identity" in table:
        fields = _paths(table.value("identity", []), table.at("identity"), is_row=is_row)
    else:
        fields = () if "id" in table else default.identity
    return path, () if fields == (path,) else fields


def in_a_row(identity: Sequence[Path]) -> tuple[Path, ...]:
    """The columns of a table that hold the values that identify a record elsewhere."""
    return tuple(path[-1:] for path in identity)


def _names_fields(given: Path, attributes: Sequence[str], *, is_row: bool) -> bool:
    """Whether an `id` names fields rather than the members on the way to one value.

    A single name with a dot is that of a member where everything stands beside the id.
    """
    if is_row:
        return len(given) > 1
    return any("." in name for name in given) and (len(given) > 1 or bool(attributes))


def _paths(given: Any, where: str, *, is_row: bool) -> tuple[Path, ...]:
    """Paths written with dots, or as lists of names. The names of columns may hold dots."""
    entries = list(given) if isinstance(given, list | tuple) else [None]
    paths = tuple(_path(entry, is_row=is_row) for entry in entries)
    if not all(path and all(path) for path in paths):
        raise description_error(
            where, "must be a list of paths like attributes.training_record_id, or of lists of names"
        )
    if len(set(paths)) < len(paths):
        raise description_error(where, "names a value twice")
    return paths


def _path(entry: Any, *, is_row: bool) -> Path:
    """One path; empty, or with an empty name, where it is none."""
    if isinstance(entry, str):
        return (entry,) if is_row else tuple(entry.split("."))
    if isinstance(entry, list | tuple) and all(isinstance(name, str) for name in entry):
        return tuple(entry)
    return ()
