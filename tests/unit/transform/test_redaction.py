"""What is dropped is nowhere, and what is pseudonymised is the same keyed hash everywhere."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Field, FieldType, Kind, ListOf, Struct
from bulk_export.errors import UsageError
from bulk_export.transform.decode import Block, Decoder, InvalidPage, Lines
from bulk_export.transform.redaction import NO_REDACTION, Redaction, RedactionAction
from bulk_export.transform.schema import arrow_schema
from tests.support.described import FIELDS, THINGS, endpoint, page, record
from tests.support.json_values import Pairs, Raw, records

KEY = bytes(range(32))
CANARY = "canary"


def hashed(value: str) -> str:
    return hmac.new(KEY, value.encode(), hashlib.sha256).hexdigest()


def decode(redaction: Redaction, *drawn: Any) -> Block:
    return Decoder(THINGS, columns=True, lines="raw", redaction=redaction).decode([page(*drawn)])


def only(block: Block) -> tuple[dict[str, Any], Any]:
    """The one row, and the one line parsed."""
    assert block.batch is not None
    assert block.lines is not None
    (row,) = block.batch.to_pylist()
    (line,) = block.lines
    return row, json.loads(line)


def test_dropped_fields_are_gone() -> None:
    """What is dropped has no column, and is not in a line."""
    redaction = Redaction.from_paths(["name", "enrolments.left", "new"], [])
    row, line = only(decode(redaction, record(name="x", enrolments=[{"email": "e", "left": None}], new=1)))
    assert "name" not in row
    assert row["enrolments"] == [{"email": "e"}]
    assert row["_extra"] is None
    assert not {"name", "new"} & line["attributes"].keys()
    assert line["attributes"]["enrolments"] == [{"email": "e"}]


def test_pseudonym_is_a_keyed_hash() -> None:
    """A pseudonym is the HMAC-SHA-256 of a string's text, or of another value's JSON text."""
    redaction = Redaction.from_paths([], ["name", "age", "paid", "aliases", "enrolments.email"], KEY)
    sent = record(name="Zoë", age=Raw("7"), paid=True, aliases=["a", None], enrolments=[{"email": "e", "left": None}])
    row, line = only(decode(redaction, sent))
    expected = {"name": hashed("Zoë"), "age": hashed("7"), "paid": hashed("true"), "aliases": [hashed("a"), None]}
    assert {name: row[name] for name in expected} == expected
    assert row["enrolments"] == [{"email": hashed("e"), "left": None}]
    assert {name: line["attributes"][name] for name in expected} == expected


def test_null_and_absent_stay() -> None:
    redaction = Redaction.from_paths([], ["name", "new"], KEY)
    row, line = only(decode(redaction, {"id": "a", "type": "t", "attributes": {"name": None}}))
    assert row["name"] is None
    assert line["attributes"] == {"name": None}


def test_rules_hold_beside_described_attributes() -> None:
    """Rules hold for ids, for attributes without a description, and for members beside the attributes."""
    redaction = Redaction.from_paths(["links"], ["id", "new", "school.urn"], KEY)
    sent = {**record(new="n", school={"urn": "u", "x": 1}), "links": {}, "school": {"urn": "u"}}
    block = decode(redaction, sent)
    row, line = only(block)
    assert list(block.ids) == [row["id"]] == [line["id"]] == [hashed("a")]
    assert json.loads(row["_extra"]) == {
        "new": hashed("n"),
        "school": {"urn": hashed("u"), "x": 1},
        "/record": {"school": {"urn": hashed("u")}},
    }
    assert "links" not in line


@pytest.mark.parametrize("lines", [None, "raw", "flat"])
@pytest.mark.parametrize("columns", [True, False])
def test_id_pseudonyms_agree_in_every_form(columns: bool, lines: Lines | None) -> None:
    """Ids have the same pseudonyms in columns, lines and keys."""
    decoder = Decoder(THINGS, columns=columns, lines=lines, redaction=Redaction.from_paths([], ["id"], KEY))
    block = decoder.decode([page(record(), record(new=1))])
    assert list(block.ids) == [hashed("a")] * 2
    assert block.rows_per_page == [2]


def test_rules_hold_for_repeated_keys() -> None:
    """Both values of a key that occurs twice are redacted."""
    redaction = Redaction.from_paths(["age"], ["name"], KEY)
    pairs = [("name", "first"), ("age", 1), ("name", "second"), ("age", 2)]
    row, line = only(decode(redaction, {"id": "a", "type": "t", "attributes": Pairs(pairs)}))
    assert row["name"] == hashed("second")
    assert json.loads(row["_extra"]) == {"/overridden": {"name": [hashed("first")]}}
    assert line["attributes"] == {"name": hashed("second")}


def test_rest_of_a_line_stays_as_sent() -> None:
    sent = rb'{"id":"a","attributes":{"n":1.10,"name":"x","t":"\u003cb\u003e \/","big":12345678901234567890123}}'
    decoder = Decoder(THINGS, columns=False, lines="raw", redaction=Redaction.from_paths(["name"], []))
    assert list(decoder.decode([b'{"data":[' + sent + b"]}"]).lines or ()) == [sent.replace(b'"name":"x",', b"")]


def canaries(sent: Any, names: frozenset[str]) -> Any:
    """The same value, with the canary as every leaf below an attribute of one of the names."""
    if isinstance(sent, Pairs):
        return Pairs(
            [(name, marked(member) if name in names else canaries(member, names)) for name, member in sent.pairs]
        )
    if isinstance(sent, dict):
        return {name: marked(member) if name in names else canaries(member, names) for name, member in sent.items()}
    return [canaries(element, names) for element in sent] if isinstance(sent, list) else sent


def marked(value: Any) -> Any:
    if isinstance(value, Pairs):
        return Pairs([(name, marked(member)) for name, member in value.pairs])
    if isinstance(value, dict):
        return {name: marked(member) for name, member in value.items()}
    return list(map(marked, value)) if isinstance(value, list) else CANARY


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=st.lists(records(FIELDS), max_size=3), names=st.frozensets(st.sampled_from(sorted(FIELDS)), min_size=1))
def test_no_trace_of_redacted_values(drawn: list[Any], names: frozenset[str]) -> None:
    """Whatever records hold, no redacted value is in columns, `_extra` or lines."""
    sent = [canaries(one, names) for one in drawn]
    for redaction in (Redaction.from_paths(sorted(names), []), Redaction.from_paths([], sorted(names), KEY)):
        for lines in ("raw", "flat"):
            block = Decoder(THINGS, columns=True, lines=lines, redaction=redaction).decode([page(*sent)])
            assert block.batch is not None
            assert CANARY not in repr(block.batch.to_pylist())
            assert CANARY.encode() not in b"".join(block.lines or ())


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=records(FIELDS))
def test_values_without_a_rule_stay(drawn: Any) -> None:
    redaction = Redaction.from_paths(["not there"], ["neither.is.this"], KEY)
    one, other = decode(redaction, drawn), decode(NO_REDACTION, drawn)
    assert one.batch is not None
    assert one.batch.equals(other.batch)
    assert [json.loads(line) for line in one.lines or ()] == [json.loads(line) for line in other.lines or ()]


def test_too_deep_record_is_refused() -> None:
    """A record that is nested too deeply to be searched is refused, not shown."""
    body = page(record()).replace(b'"name":null', b'"name":' + b"[" * 950 + b'"canary"' + b"]" * 950)
    with pytest.raises(InvalidPage, match="too deeply"):
        Decoder(THINGS, columns=True, lines=None, redaction=Redaction.from_paths([], ["name"], KEY)).decode([body])


def test_redacted_description() -> None:
    """The description loses dropped fields, and pseudonymised ones hold strings."""
    redaction = Redaction.from_paths(
        ["name", "enrolments.left.reason", "enrolments.left.date"], ["years", "enrolments.email"], KEY
    )
    left = {field.name: field.type for field in redaction.redacted(THINGS).fields}
    assert left == {
        **{name: kind for name, kind in FIELDS.items() if name != "name"},
        "years": ListOf(Kind.STRING),
        "enrolments": ListOf(Struct((Field("email", Kind.STRING),))),
    }
    assert "name" not in arrow_schema(redaction.redacted(THINGS)).names


def test_unmatched_paths_are_found() -> None:
    redaction = Redaction.from_paths(["nmae", "enrolments.left.reason"], ["id", "enrolments.emial", "name.first"], KEY)
    assert sorted(redaction.unmatched_paths(THINGS)) == ["enrolments.emial", "name.first", "nmae"]


@pytest.mark.parametrize(
    ("drop", "pseudonymise", "key"),
    [
        ([], ["name"], None),
        ([], ["name"], b"too short"),
        (["name"], ["name"], KEY),
        (["enrolments"], ["enrolments.email"], KEY),
        (["enrolments.email"], ["enrolments"], KEY),
        (["id"], [], None),
        (["type"], [], None),
        ([""], [], None),
        (["a..b"], [], None),
    ],
)
def test_contradictory_rules_are_refused(drop: list[str], pseudonymise: list[str], key: bytes | None) -> None:
    with pytest.raises(UsageError) as refused:
        Redaction.from_paths(drop, pseudonymise, key)
    assert refused.value.next_step


def test_key_is_not_in_the_repr() -> None:
    redaction = Redaction.from_paths([], ["name"], b"the key that nobody may see")
    assert "nobody" not in repr(redaction)


def test_path_may_be_named_twice() -> None:
    assert Redaction.from_paths(["name", "name"], []).rules == Redaction.from_paths(["name"], []).rules


def test_key_without_pseudonyms_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to pseudonymise"):
        Redaction.from_paths(["email"], [], KEY)


def test_key_id_differs_by_key() -> None:
    ids = {Redaction.from_paths([], ["email"], key).key_id for key in (KEY, KEY + b"2", KEY)}
    assert len(ids) == 2
    assert all(identity and identity.encode() not in KEY for identity in ids)
    assert NO_REDACTION.key_id is None


def test_extra_prefix_names_undescribed_fields() -> None:
    """A path behind `_extra.` need not be described."""
    redaction = Redaction.from_paths(["_extra.national_insurance_number", "nmae"], [])
    assert redaction.unmatched_paths(THINGS) == ["nmae"]
    assert redaction.rules["national_insurance_number"] is RedactionAction.DROP


def test_already_applied_rules_describe_the_rest() -> None:
    before = Redaction.already_applied(["name"], ["age"])
    left = {field.name: field.type for field in before.redacted(THINGS).fields}
    assert "name" not in left
    assert left["age"] is Kind.STRING


@pytest.mark.parametrize("declared", [Kind.ANY, Struct(()), ListOf(Kind.ANY)], ids=str)
def test_rules_hold_for_any(declared: FieldType) -> None:
    described = endpoint({"free": declared, "bag": declared, "code": Kind.ANY})
    redaction = Redaction.from_paths(["free.secret", "bag"], ["code"], KEY)
    assert redaction.unmatched_paths(described) == []
    sent = record(free=[{"secret": CANARY, "a": 1}], bag={"secret": CANARY}, code=[CANARY])
    block = Decoder(described, columns=True, lines="raw", redaction=redaction).decode([page(sent)])
    row, line = only(block)
    assert (row["code"], json.loads(row["_extra"])["free"]) == (None, [{"a": 1}])
    assert line["attributes"]["free"] == [{"a": 1}]
    assert line["attributes"]["code"] == [hashed(CANARY)]
    assert CANARY not in repr(row) + repr(line)
