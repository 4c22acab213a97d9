"""What identifies a row of a copy: the columns that hold the identity of its record."""

from __future__ import annotations

import pyarrow as pa

from bulk_export import schema
from bulk_export.model import Endpoint

Path = tuple[str, ...]


def merge_key(endpoint: Endpoint, columns: pa.Schema) -> tuple[Path, ...]:
    """The columns, or members of them, whose values together identify a row of an endpoint's table.

    They follow the identity of the endpoint's records. Where a part of it has no column (it was dropped, or no schema
    knows it) the id is taken instead: it may be shared then, and rows that share one are told apart by their content.
    """
    paths = tuple(_column_path(endpoint, path) for path in endpoint.shape.identity)
    if not paths or not all(path is not None and _is_there(path, columns) for path in paths):
        return ((schema.ID,),)
    return tuple(path for path in paths if path is not None)


def _column_path(endpoint: Endpoint, path: Path) -> Path | None:
    """Where a part of a record stands in a table."""
    shape = endpoint.shape
    if path == shape.id:
        return (schema.ID,)
    if path == shape.type:
        return (schema.TYPE,)
    attributes = shape.attributes
    if path[: len(attributes)] != attributes or len(path) == len(attributes):
        return None
    return path[len(attributes) :]


def _is_there(path: Path, columns: pa.Schema) -> bool:
    type_: pa.DataType = pa.struct(list(columns))
    for name in path:
        if not pa.types.is_struct(type_):
            return False
        index = type_.get_field_index(name)
        if index < 0:
            return False
        type_ = type_.field(index).type
    return not pa.types.is_nested(type_)
