"""The field types of JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.core.model import Field, Kind, ListOf, Struct
from bulk_export.errors import UsageError
from tests.support.specs import RECORD, described, listing, only


def fields(schema: Any, **components: Any) -> dict[str, Any]:
    paths = {"/things": listing(schema={"type": "array", "items": schema})}
    return {field.name: field.type for field in only(paths, components={"schemas": components}).fields}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, Kind.STRING),
        ({"type": ["string", "null"]}, Kind.STRING),
        ({"type": "string", "nullable": True, "format": "date-time"}, Kind.TIMESTAMP),
        ({"type": "string", "format": "date"}, Kind.DATE),
        ({"type": "string", "format": "uuid"}, Kind.STRING),
        ({"type": ["integer", "number"]}, Kind.NUMBER),
        ({"enum": ["a", "b", None]}, Kind.STRING),
        ({"const": 3}, Kind.INTEGER),
        ({"enum": [True, False]}, Kind.BOOLEAN),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, Kind.INTEGER),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, Kind.STRING),
        ({"anyOf": [{"format": "date", "type": "string"}, {"format": "date-time", "type": "string"}]}, Kind.TIMESTAMP),
        ({"$ref": "#/components/schemas/Day", "description": "a day"}, Kind.DATE),
        ({"allOf": [{"$ref": "#/components/schemas/Day"}], "nullable": True}, Kind.DATE),
        ({"allOf": [{"type": "string"}, {"type": "string", "format": "date"}]}, Kind.DATE),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Day"}}, ListOf(Kind.DATE)),
        ({"items": {"type": "array", "items": {"type": "number"}}}, ListOf(ListOf(Kind.NUMBER))),
        ({"properties": {"a": {"type": "boolean"}}}, Struct((Field("a", Kind.BOOLEAN),))),
        (
            {"oneOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]},
            Struct((Field("a", Kind.STRING), Field("b", Kind.STRING))),
        ),
        ({"type": "object", "additionalProperties": {"type": "string"}}, Struct(())),
        ({"type": "array"}, ListOf(Kind.ANY)),
    ],
)
def test_types(schema: Any, kind: Any) -> None:
    """Each JSON Schema gives the field type that holds its values."""
    record = {"properties": {"id": {"type": "string"}, "it": schema}}
    assert fields(record, Day={"type": "string", "format": "date"}) == {"it": kind}


@pytest.mark.parametrize("schema", [{}, True, {"type": ["string", "integer"]}, {"oneOf": [{"type": "string"}, RECORD]}])
def test_values_of_several_types_are_any(schema: Any) -> None:
    assert fields({"properties": {"id": {"type": "string"}, "it": schema, "ok": {"type": "string"}}}) == {
        "it": Kind.ANY,
        "ok": Kind.STRING,
    }


def test_type_that_contains_itself() -> None:
    """It ends where it begins again, and a remark says so."""
    below = {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    tree = {"properties": {"id": {"type": "string"}, "below": below}}
    paths = {"/trees": listing(schema={"type": "array", "items": {"$ref": "#/components/schemas/Tree"}})}
    schemas = {"schemas": {"Tree": tree}}
    assert only(paths, components=schemas).fields == (Field("below", ListOf(Kind.ANY)),)
    assert any("contains itself" in remark for remark in described(paths, components=schemas).remarks)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("other.yaml#/Box", "outside the file"),
        ("https://example.org/box.json", "outside the file"),
        ("#/components/schemas/Nothing", "does not exist"),
        ("#nowhere", "does not exist"),
        ("#/paths/~1boxes/get/parameters/first", "does not exist"),
    ],
)
def test_broken_references_are_refused(reference: str, message: str) -> None:
    """References out of the file or to nothing are refused, with the reference."""
    with pytest.raises(UsageError, match=message) as refused:
        described({"/boxes": listing(schema={"$ref": reference})})
    assert repr(reference) in refused.value.what


def test_circular_and_exploding_references() -> None:
    """References in a circle declare nothing, and a schema that grows too large is refused."""
    circle = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    with pytest.raises(UsageError, match="no list endpoint"):
        described({"/a": listing(schema={"$ref": "#/components/schemas/A"})}, components={"schemas": circle})
    doubling: dict[str, Any] = {"S0": {"type": "string"}}
    for level in range(1, 30):
        inner = {"$ref": f"#/components/schemas/S{level - 1}"}
        doubling[f"S{level}"] = {"type": "object", "properties": {"a": inner, "b": inner}}
    with pytest.raises(UsageError, match="too large when its references are followed"):
        described(
            {"/a": listing(schema={"items": {"$ref": "#/components/schemas/S29"}})},
            components={"schemas": doubling},
        )
