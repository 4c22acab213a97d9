"""What identifies a row of a copy: the columns that hold the identity of its record."""

from __future__ import annotations

import pyarrow as pa

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode import identity_columns

Path = tuple[str, ...]


def merge_key(endpoint: Endpoint, columns: pa.Schema) -> tuple[Path, ...]:
    """The columns, or members of them, whose values together identify a row of an endpoint's table.

    They follow the identity of the endpoint's records. Where a part of it has no column (it was dropped, or no schema
    knows it) the id is taken instead: it may be shared then, and rows that share one are told apart by their content.
    """
    places = identity_columns(endpoint.shape)
    if places is None or not all(_is_there(place, columns) for place in places):
        return ((schema.ID,),)
    return places


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
