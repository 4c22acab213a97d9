"""Pages of records, decoded."""

from __future__ import annotations

from typing import Any

from bulk_export.core.model import Endpoint
from bulk_export.transform.decode import Block, Decoder
from tests.support.described import THINGS
from tests.support.json_values import text_of


def body_of(drawn: list[Any]) -> bytes:
    """A page of records."""
    return ('{"data":[' + ",".join(map(text_of, drawn)) + "]}").encode()


def record(**attributes: Any) -> dict[str, Any]:
    """A record with some attributes."""
    return {"id": "a", "type": "thing", "attributes": attributes}


def decode(drawn: list[Any], described: Endpoint = THINGS) -> Block:
    """The block of a page, with columns and lines."""
    return Decoder(described, columns=True, lines="raw").decode([body_of(drawn)])


def row(attributes: Any, described: Endpoint = THINGS) -> dict[str, Any]:
    """The columns of a record with these attributes."""
    block = decode([{"id": "a", "type": "thing", "attributes": attributes}], described)
    assert block.batch is not None
    (only,) = block.batch.to_pylist()
    return only
