"""What tells records apart: fields that a description names, and where columns hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulk_export.core.model import Endpoint, Field, Kind, ListOf, RecordShape, Struct
from bulk_export.transform.decode import Decoder, Lines, identity_columns
from bulk_export.transform.redaction import Redaction
from tests.support.described import endpoint

THINGS = endpoint({"number": Kind.STRING, "at": Struct((Field("place", Kind.STRING),)), "tags": ListOf(Kind.STRING)})
KEY = b"0123456789abcdef0123456789abcdef"


def identified_by(*paths: tuple[str, ...], described: Endpoint = THINGS, **shape: Any) -> Endpoint:
    return replace(described, shape=replace(described.shape, identity=paths, **shape))


def keys(described: Endpoint, *records: str, redaction: Redaction | None = None) -> list[str | None]:
    """The identity of each record, whatever is made of them; None where it has none."""
    body = f'{{"data":[{",".join(records)}]}}'.encode()
    forms: tuple[tuple[bool, Lines | None], ...] = ((True, None), (False, "raw"), (False, None), (True, "flat"))
    rules = redaction or Redaction.from_paths((), ())
    ways = [Decoder(described, columns=columns, lines=lines, redaction=rules) for columns, lines in forms]
    found = [list(way.decode([body]).ids) for way in ways]
    assert all(one == found[0] for one in found)
    unidentified = [key for key in found[0] if isinstance(key, bytes)]
    assert all(record.decode() in records for record in unidentified)
    return [None if isinstance(key, bytes) else key for key in found[0]]


def thing(attributes: str, identity: str = '"a"') -> str:
    return f'{{"id":{identity},"type":"thing","attributes":{attributes}}}'


def test_a_field_takes_the_place_of_the_id() -> None:
    found = keys(identified_by(("attributes", "number")), thing('{"number":"1"}'), thing('{"number":"2"}', "null"))
    assert found == ['["1"]', '["2"]']


def test_several_fields_identify_together_and_keep_numbers_from_texts() -> None:
    described = identified_by(("id",), ("attributes", "number"), ("attributes", "at", "place"))
    found = keys(
        described,
        thing('{"number":"1","at":{"place":"x"}}'),
        thing('{"number":1,"at":{"place":"x"}}'),
        thing('{"number":true,"at":{"place":"\\u0078"}}'),
    )
    assert found == ['["a","1","x"]', '["a",1,"x"]', '["a",true,"x"]']


@pytest.mark.parametrize("number", ['{"number":null}', "{}", "null", '{"number":""}', '{"number":["1"]}', "[]"])
def test_a_record_that_lacks_a_value_of_its_identity_has_none(number: str) -> None:
    assert keys(identified_by(("id",), ("attributes", "number")), thing(number)) == [None]


def test_an_id_among_them_has_to_be_of_its_type() -> None:
    described = identified_by(("id",), ("attributes", "number"))
    assert keys(described, thing('{"number":"1"}', "7")) == [None]
    numbered = identified_by(("id",), ("attributes", "number"), id_type=Kind.INTEGER)
    assert keys(numbered, thing('{"number":"1"}', "7")) == ['[7,"1"]']


def test_what_is_dropped_or_replaced_identifies_all_the_same() -> None:
    described = identified_by(("attributes", "number"))
    dropped = Redaction.from_paths(["number"], ())
    assert keys(described, thing('{"number":"1"}'), redaction=dropped) == ['["1"]']
    replaced = Redaction.from_paths((), ["id"], KEY)
    named, *others = keys(
        THINGS, thing("{}"), thing("{}", "null"), thing("{}", "7"), thing("{}", '""'), redaction=replaced
    )
    assert named == replaced.pseudonym(b"a")
    assert others == [None, None, None]


def test_columns_hold_what_identifies() -> None:
    assert identity_columns(THINGS.shape) == (("id",),)
    assert identity_columns(identified_by(("id",), ("attributes", "number")).shape) == (("id",), ("number",))
    assert identity_columns(identified_by(("type",), ("attributes", "at", "place")).shape) == (
        ("type",),
        ("at", "place"),
    )
    flat = identified_by(("number",), attributes=(), type=None)
    assert identity_columns(flat.shape) == (("number",),)


@pytest.mark.parametrize("path", [("attributes",), ("meta", "number")])
def test_what_can_have_no_column_of_its_own_is_held_by_none(path: tuple[str, ...]) -> None:
    assert identity_columns(identified_by(("id",), path).shape) is None


def test_the_id_of_records_of_other_shapes_is_that_of_its_column() -> None:
    shape = RecordShape(at=(), id=("meta", "key"), type=None, attributes=())
    assert identity_columns(shape) == (("id",),)
