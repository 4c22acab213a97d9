"""What tells records apart: fields that a description names, and where columns hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bulk_export.core.model import Endpoint, Field, Kind, ListOf, RecordShape, Struct
from bulk_export.transform.decode import Decoder, Lines, identity_columns, record_version
from bulk_export.transform.redaction import Redaction
from tests.support.decoding import record
from tests.support.described import endpoint
from tests.support.json_values import text_of

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


def test_identity_by_a_field() -> None:
    """A described field identifies records, even if the id is null."""
    found = keys(identified_by(("attributes", "number")), thing('{"number":"1"}'), thing('{"number":"2"}', "null"))
    assert found == ['["1"]', '["2"]']


def test_identity_by_several_fields() -> None:
    """Several fields identify together, and the number 7 is not the string "7"."""
    described = identified_by(("id",), ("attributes", "number"), ("attributes", "at", "place"))
    found = keys(
        described,
        thing('{"number":"1","at":{"place":"x"}}'),
        thing('{"number":1,"at":{"place":"x"}}'),
        thing('{"number":true,"at":{"place":"\\u0078"}}'),
    )
    assert found == ['["a","1","x"]', '["a",1,"x"]', '["a",true,"x"]']


@pytest.mark.parametrize("number", ['{"number":null}', "{}", "null", '{"number":""}', '{"number":["1"]}', "[]"])
def test_missing_value_means_no_identity(number: str) -> None:
    assert keys(identified_by(("id",), ("attributes", "number")), thing(number)) == [None]


def test_id_in_an_identity_needs_its_type() -> None:
    described = identified_by(("id",), ("attributes", "number"))
    assert keys(described, thing('{"number":"1"}', "7")) == [None]
    numbered = identified_by(("id",), ("attributes", "number"), id_type=Kind.INTEGER)
    assert keys(numbered, thing('{"number":"1"}', "7")) == ['[7,"1"]']


def test_redacted_fields_identify() -> None:
    """Fields that are dropped or pseudonymised still identify records."""
    described = identified_by(("attributes", "number"))
    dropped = Redaction.from_paths(["number"], ())
    assert keys(described, thing('{"number":"1"}'), redaction=dropped) == ['["1"]']
    replaced = Redaction.from_paths((), ["id"], KEY)
    named, *others = keys(
        THINGS, thing("{}"), thing("{}", "null"), thing("{}", "7"), thing("{}", '""'), redaction=replaced
    )
    assert named == replaced.pseudonym(b"a")
    assert others == [None, None, None]


def test_identity_columns() -> None:
    """The columns of an identity are those of its id, type and attributes."""
    assert identity_columns(THINGS.shape) == (("id",),)
    assert identity_columns(identified_by(("id",), ("attributes", "number")).shape) == (("id",), ("number",))
    assert identity_columns(identified_by(("type",), ("attributes", "at", "place")).shape) == (
        ("type",),
        ("at", "place"),
    )
    flat = identified_by(("number",), attributes=(), type=None)
    assert identity_columns(flat.shape) == (("number",),)


@pytest.mark.parametrize("path", [("attributes",), ("meta", "number")])
def test_no_column_for_an_identity(path: tuple[str, ...]) -> None:
    """An identity outside of the attributes has no column."""
    assert identity_columns(identified_by(("id",), path).shape) is None


def test_identity_column_of_other_shapes() -> None:
    """The id has the column `id`, wherever a record has it."""
    shape = RecordShape(at=(), id=("meta", "key"), type=None, attributes=())
    assert identity_columns(shape) == (("id",),)


def test_record_version() -> None:
    """The version of a record is its `updated_at`, None without one."""
    drawn = [record(updated_at="1970-01-01T00:00:01Z"), record(name="n"), {"id": "x", "attributes": 7}]
    assert [record_version(text_of(one).encode()) for one in drawn] == [1_000_000, None, None]
