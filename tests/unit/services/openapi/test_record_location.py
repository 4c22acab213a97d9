"""Where a response has its records, and which columns CSV has."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.core.model import Field, Kind
from tests.support.specs import RECORD, answering, array, described, listing, only, query, read, table

PAGED = [query("page", minimum=1), query("size")]


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        ({"type": "array", "items": RECORD}, ()),
        ({"properties": {"items": {"type": "array", "items": RECORD}, "errors": {"items": RECORD}}}, ("items",)),
        ({"properties": {"boxes": {"type": "array", "items": RECORD}, "total": {"type": "integer"}}}, ("boxes",)),
        ({"properties": {"response": {"properties": {"results": {"items": RECORD}}}}}, ("response", "results")),
        ({"allOf": [{"properties": {"meta": {}}}, {"properties": {"data": {"items": RECORD}}}]}, ("data",)),
    ],
)
def test_list_of_records_is_found(schema: Any, at: tuple[str, ...]) -> None:
    endpoint = only({"/boxes": listing(schema=schema)})
    assert (endpoint.shape.at, endpoint.shape.attributes) == (at, ())
    assert endpoint.fields == (Field("size", Kind.INTEGER),)


def test_other_lists_get_a_remark() -> None:
    schema = {"properties": {"data": array(RECORD), "included": array(RECORD)}}
    assert any("left out: included" in remark for remark in described({"/boxes": listing(schema=schema)}).remarks)


CELLS: dict[str, Any] = {"id": {"type": "string"}, "size": {"type": "integer"}}


ROW = {"type": "object", "properties": CELLS | {"tags": array(RECORD)}}


@pytest.mark.parametrize(
    ("schema", "media"),
    [
        (array(ROW), {}),
        ({"properties": {"data": array(ROW)}}, {}),
        ({"type": "string", "properties": {"data": array(ROW)}, "required": ["data"]}, {}),
        ({"type": "string", "items": ROW}, {}),
        ({"type": "object", "properties": CELLS}, {}),
        ({"type": "string", "example": "id,size\n1,2\n"}, {}),
        ({"type": "string"}, {"example": "id,size\n1,2\n"}),
        (None, {"examples": {"one": {"value": "id,size\r\n1,2\r\n"}}}),
    ],
    ids=str,
)
def test_csv_is_described_however_declared(schema: Any, media: dict[str, Any]) -> None:
    endpoint = only({"/boxes.csv": table(schema, **media)})
    assert (endpoint.name, endpoint.format, endpoint.shape.id, endpoint.shape.at) == ("boxes", "csv", ("id",), ())
    assert [field.name for field in endpoint.fields if field.name != "tags"] == ["size"]
    assert all(isinstance(field.type.value, str) for field in endpoint.fields)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "schema", [None, {"type": "string"}, {"type": "string", "format": "binary"}, {"type": "array"}]
)
def test_undeclared_csv_is_described(schema: Any) -> None:
    paths = {"/boxes.csv": table(schema), "/lids": listing(*PAGED)}
    endpoint = read(paths).endpoints[0]
    assert (endpoint.name, endpoint.format, endpoint.fields, endpoint.shape.id) == ("boxes", "csv", (), ("id",))
    silent = {"get": {"responses": {"200": {"description": "ok"}}}}
    assert read({"/boxes.csv": silent}).endpoints[0].format == "csv"
    assert any("does not say what its records contain" in remark for remark in described(paths).remarks)


def test_json_is_preferred_to_csv() -> None:
    """A path with both formats is one list: the JSON one, unless only the CSV is a list."""
    both = {"text/csv": {"schema": array(ROW)}, "application/json": {"schema": array(ROW)}}
    assert only({"/boxes": answering(both)}).format == "json"
    both["application/json"] = {"schema": RECORD}
    assert only({"/boxes": answering(both)}).format == "csv"
