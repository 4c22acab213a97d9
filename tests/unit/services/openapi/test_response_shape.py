"""What identifies the records of an operation."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.services.description import read_description
from bulk_export.services.openapi import describe
from tests.support.specs import array, described, listing, only, query, spec

PAGED = [query("page", minimum=1), query("size")]


IDENTIFIED = [
    ({"uuid": {"type": "string"}}, [], ("uuid",)),
    ({"_id": {"type": "string"}}, [], ("_id",)),
    ({"id": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}, [], ("id",)),
    ({"box_id": {"type": "integer"}}, ["box_id"], ("box_id",)),
    ({"boxId": {"type": "string"}}, ["boxId"], ("boxId",)),
    ({"reference": {"type": "string", "description": "The unique reference"}}, ["reference"], ("reference",)),
    # It may be missing, be another thing's, or stand on several records.
    ({"box_id": {"type": "integer"}}, [], ()),
    ({"owner_id": {"type": "string", "description": "The unique id of the owner"}}, ["owner_id"], ()),
    ({"reference": {"type": "string", "description": "The reference"}}, ["reference"], ()),
    ({"size": {"type": "integer"}}, ["size"], ()),
]


@pytest.mark.parametrize(("members", "required", "path"), IDENTIFIED, ids=str)
def test_only_certain_ids_are_used(members: Any, required: list[str], path: tuple[str, ...]) -> None:
    """A member is the id only if it certainly identifies a record."""
    record = {"type": "object", "properties": members, "required": required}
    assert only({"/boxes": listing(*PAGED, schema=array(record))}).shape.id == path


def test_id_among_the_attributes() -> None:
    """An id among the attributes is found there."""
    inside = {"type": "object", "properties": {"id": {"type": "integer"}, "size": {"type": "integer"}}}
    shape = only({"/boxes": listing(schema=array({"properties": {"attributes": inside}}))}).shape
    assert (shape.id, shape.id_type.value, shape.attributes) == (("attributes", "id"), "integer", ("attributes",))


def test_records_without_an_id() -> None:
    """They have none, and a remark says so, unless the caller knows what identifies them."""
    bare = {"type": "array", "items": {"properties": {"code": {"type": "string"}}}}
    paths = {"/codes": listing(schema=bare)}
    assert only(paths).shape.id == ()
    assert any("nothing identifies its records" in remark for remark in described(paths).remarks)
    known = describe(spec(paths), "spec", identifiers={"/codes": "code"})
    assert read_description(known.document, None).endpoints[0].shape.id == ("code",)
