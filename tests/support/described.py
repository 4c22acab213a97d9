"""A description with every type, and pages of records for it."""

from __future__ import annotations

import re
from typing import Any

from bulk_export.core.model import Endpoint, Field, FieldType, Kind, ListOf, Struct
from tests.support.json_values import text_of

FIELDS: dict[str, FieldType] = {
    "name": Kind.STRING,
    "paid": Kind.BOOLEAN,
    "age": Kind.INTEGER,
    "score": Kind.NUMBER,
    "updated_at": Kind.TIMESTAMP,
    "day": Kind.DATE,
    "years": ListOf(Kind.INTEGER),
    "aliases": ListOf(Kind.STRING),
    "enrolments": ListOf(
        Struct(
            (
                Field("email", Kind.STRING),
                Field("left", Struct((Field("reason", Kind.STRING), Field("date", Kind.TIMESTAMP)))),
            )
        )
    ),
}


def endpoint(fields: dict[str, FieldType]) -> Endpoint:
    """An endpoint of things with some fields."""
    return Endpoint(
        name="things",
        path="/things",
        record_type="thing",
        fields=tuple(Field(name, kind) for name, kind in fields.items()),
        filters=(),
        since=None,
        sort=None,
        order=(),
        order_is_total=True,
    )


THINGS = endpoint(FIELDS)


def record(**attributes: Any) -> dict[str, Any]:
    """Return a record with all attributes: null unless given."""
    return {"id": "a", "type": "thing", "attributes": dict.fromkeys(FIELDS) | attributes}


def page(*drawn: Any) -> bytes:
    """A compact body with some records."""
    return ('{"data":[' + ",".join(map(text_of, drawn)) + "]}").encode()


def spaced(body: bytes) -> bytes:
    """The same body with white space between all tokens."""
    return re.sub(rb'("(?:[^"\\]|\\.)*")|([{}\[\]:,])', lambda token: token[1] or b"\n " + token[2] + b"\t", body)
