"""The fast way: what stays on it, what must not, and that it gives what the exact way gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.transform.decode import Block, Decoder, InvalidPage
from bulk_export.transform.decode.column_builders import NotAsDescribed
from bulk_export.transform.decode.exact_path import ExactDecoder
from bulk_export.transform.redaction import NO_REDACTION, Redaction
from tests.support.described import FIELDS, THINGS, endpoint, page, record, spaced
from tests.support.json_values import Pairs, Raw, records

KEY = b"a key of the length that is asked for"
REDACTIONS = [
    NO_REDACTION,
    Redaction.from_paths(["name", "enrolments.left.date"], ["id", "years", "enrolments.email", "relationships"], KEY),
    Redaction.from_paths(["enrolments", "score"], ["type", "new", "updated_at", "aliases"], KEY),
]


class ReferenceDecoder(Decoder):
    """Knows the exact way only."""

    def _fast(self, bodies: Any, drift: Any) -> Any:
        raise NotAsDescribed


def same(one: Block, other: Block) -> bool:
    assert one.batch is not None
    assert other.batch is not None
    assert one.batch.to_pylist() == other.batch.to_pylist()
    assert one.batch.equals(other.batch)
    assert (list(one.ids), one.rows_per_page) == (list(other.ids), other.rows_per_page)
    assert one.drift.to_json() == other.drift.to_json()
    return True


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    drawn=st.lists(records(FIELDS), max_size=3),
    redaction=st.sampled_from(REDACTIONS),
    with_white_space=st.booleans(),
)
def test_both_paths_give_the_same(drawn: list[Any], redaction: Redaction, with_white_space: bool) -> None:
    """The fast path gives what the exact path gives, also after it has learned."""
    bodies = [page(*drawn), page(record()), page()]
    if with_white_space:
        bodies = list(map(spaced, bodies))
    expected = ReferenceDecoder(THINGS, columns=True, lines=None, redaction=redaction).decode(bodies)
    learning = Decoder(THINGS, columns=True, lines=None, redaction=redaction)
    for _ in range(5):
        assert same(learning.decode(bodies), expected)


USUAL = record(
    name='Zoë \\ said ":" \u2028\U0001f600\x00',
    paid=True,
    age=-7,
    score=Raw("1.25"),
    updated_at="2021-05-31T02:21:32.000Z",
    day="2021-05-31",
    years=[2021, None],
    aliases=[],
    enrolments=[{"email": None, "left": {"reason": "other", "date": "2021-05-31T02:21:32Z"}}, None],
)


def experienced() -> Decoder:
    """A decoder that has met odd pages often enough to be ready for more."""
    decoder = Decoder(THINGS, columns=True, lines=None)
    for _ in range(3):
        decoder.decode([page(record(new=1, name=7, enrolments=[{"level": 2}], years=3) | {"relationships": {}})])
    return decoder


@settings(deadline=None, max_examples=120)
@given(data=st.data())
def test_damage_is_the_same_on_both_paths(data: st.DataObject) -> None:
    """A damaged page is invalid, or changed in the same way on both paths."""
    body = bytearray(page(USUAL, record(years=[1, 2], new=[7, "é"])))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(body)))
        other = data.draw(st.integers(0, len(body)))
        length = data.draw(st.integers(0, 40))
        piece = data.draw(
            st.sampled_from([b"", body[other : other + length], b'"', b":", b",", b" ", b"}", b"\\", b"-", b"\xff"])
        )
        body[position : position + data.draw(st.sampled_from([0, 0, 1, length]))] = piece
    damaged = bytes(body)
    try:
        expected = ReferenceDecoder(THINGS, columns=True, lines=None).decode([damaged])
    except InvalidPage:
        with pytest.raises(InvalidPage):
            experienced().decode([damaged])
    else:
        assert same(experienced().decode([damaged]), expected)


@pytest.mark.parametrize(
    "drawn",
    [
        USUAL,
        record(),
        {"id": "a", "type": "thing", "attributes": {"name": "the others are missing"}},
        record(updated_at="2021-05-31T02:21:32+01:00"),
        record(updated_at="soon", day="2021-02-30"),
        record(day="2021-05-31T00:00:00+00:00"),
        record(score=Raw("0.10000000000000000000000001")),
        record(new={"nested": [Raw("1.0"), "é\n"]}),
        record(name=["of", "another", "type"]),
        record(enrolments=[None, {"email": "e", "left": None, "level": {"of": "study"}}]),
        record(years={"of": "another type"}),
        {**USUAL, "relationships": {"school": {"data": None}}},
    ],
    ids=repr,
)
def test_known_values_take_the_fast_path(drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is described, or was met before, takes the fast path."""
    decoder = experienced()
    bodies = [page(drawn, USUAL), spaced(page(drawn, USUAL))]
    expected = ReferenceDecoder(THINGS, columns=True, lines=None).decode(bodies)
    monkeypatch.setattr(ExactDecoder, "decode", None)
    assert same(decoder.decode(bodies), expected)


@pytest.mark.parametrize("redaction", REDACTIONS[1:], ids=["first", "second"])
def test_redaction_takes_the_fast_path(redaction: Redaction, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [page(USUAL, record()), spaced(page(USUAL))]
    expected = ReferenceDecoder(THINGS, columns=True, lines=None, redaction=redaction).decode(bodies)
    monkeypatch.setattr(ExactDecoder, "decode", None)
    assert same(Decoder(THINGS, columns=True, lines=None, redaction=redaction).decode(bodies), expected)


def test_drift_costs_only_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drift in one page leaves the others on the fast path."""
    taken_exactly: list[bytes] = []
    original = ExactDecoder.decode

    def counted(self: ExactDecoder, taken: Any, drift: Any) -> Any:
        taken_exactly.extend(taken)
        return original(self, taken, drift)

    monkeypatch.setattr(ExactDecoder, "decode", counted)
    block = Decoder(THINGS, columns=True, lines=None).decode([page(USUAL), page(record(new=1)), page(USUAL)])
    assert len(taken_exactly) == 1
    assert len(block.ids) == 3


@pytest.mark.parametrize(
    "pairs",
    [
        [("name", "first"), ("name", "second")],
        [("name", None), ("name", None)],
        [("enrolments", [Pairs([("email", "first"), ("email", "second"), ("left", None)])])],
    ],
)
@pytest.mark.parametrize("layout", [bytes, spaced])
def test_repeated_keys_never_pass(pairs: list[Any], layout: Any) -> None:
    attributes = Pairs([*((name, None) for name in FIELDS if name != pairs[0][0]), *pairs])
    block = Decoder(THINGS, columns=True, lines=None).decode(
        [layout(page({"id": "a", "type": "t", "attributes": attributes}))]
    )
    assert sum(block.drift.duplicate_keys.values()) == 1
    assert block.batch is not None
    assert "/overridden" in block.batch.to_pylist()[0]["_extra"]


def test_white_space_does_not_hide_a_repeated_key() -> None:
    body = page(record()).replace(b'"name":null', b'"name" :"first","name":"second"')
    block = Decoder(THINGS, columns=True, lines=None).decode([body])
    assert block.drift.duplicate_keys == {"name": 1}


def test_negative_zero_is_no_integer() -> None:
    block = Decoder(THINGS, columns=True, lines=None).decode([page(record(age=Raw("-0")))])
    assert block.batch is not None
    assert block.batch.to_pylist()[0]["_extra"] == '{"age":-0}'


@pytest.mark.parametrize("name", ['with "quotes"', "with \\", "with \n", "with \ud800", "with . dots", "/record.x", ""])
def test_any_name_can_be_learned(name: str) -> None:
    decoder = Decoder(THINGS, columns=True, lines=None)
    body = page(record(**{name: 1}))
    expected = ReferenceDecoder(THINGS, columns=True, lines=None).decode([body])
    assert all(same(decoder.decode([body]), expected) for _ in range(6))


def test_learning_is_bounded() -> None:
    """Ever new names do not fill the memory."""
    decoder = Decoder(THINGS, columns=True, lines=None)
    for number in range(200):
        for _ in range(3):
            block = decoder.decode([page(record(**{f"new-{number}": 1}))])
    assert block.drift.unknown == {"new-199": 1}
    assert len(decoder._column_decoder._fast._learned) <= 64


def test_odd_descriptions_are_decoded() -> None:
    """A description without fields, or with names that a struct cannot have, is decoded by the exact path."""
    for fields in ({}, {'a"b': FIELDS["name"]}):
        described = endpoint(fields)
        block = Decoder(described, columns=True, lines=None).decode([page(record(**{'a"b': "x"}))])
        assert list(block.ids) == ["a"]
        assert list(Decoder(described, columns=True, lines=None).decode([]).ids) == []


@pytest.mark.parametrize("text", [b"here", b"there", b"elsewhere"])
def test_bytes_that_are_not_utf8_are_found(text: bytes) -> None:
    body = page(record(new=["here"], name=["there"]) | {"relationships": ["elsewhere"]})
    with pytest.raises(InvalidPage, match="not UTF-8"):
        experienced().decode([body.replace(text, b"\xe9")])
