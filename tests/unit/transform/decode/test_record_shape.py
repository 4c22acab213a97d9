"""Records of other shapes: every part in its column, everything else in `_extra`, lines as they were sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Endpoint, Kind, RecordShape
from bulk_export.transform.decode import Decoder, InvalidPage, RecordShaper, page_rewriter, split_page
from bulk_export.transform.decode.record_shape import with_escaped_names
from bulk_export.transform.redaction import Redaction
from tests.support.described import FIELDS, endpoint
from tests.support.json_values import Pairs, strings, text_of, values

SHAPES = [
    RecordShape(at=(), attributes=(), type=None),
    RecordShape(at=("items",), attributes=(), id=("key",)),
    RecordShape(at=("a", "b"), id=("uuid",), type=("kind",), attributes=("fields",)),
    RecordShape(id=("meta", "id"), type=("meta", "type"), attributes=("body", "fields")),
    RecordShape(attributes=(), id=("number",), type=None, id_type=Kind.INTEGER),
    RecordShape(type=None),
]


def shaped(shape: RecordShape) -> Endpoint:
    return replace(endpoint(FIELDS), shape=shape)


def page(shape: RecordShape, records: Sequence[Any]) -> bytes:
    before = "".join(f'{{"{name}": ' for name in shape.at)
    return f"{before}[{','.join(map(text_of, records))}]{'}' * len(shape.at)}".encode()


names = strings | st.sampled_from(
    ["id", "type", "attributes", "/id", "key", "uuid", "kind", "fields", "number", "meta", "body", *FIELDS]
)
objects = st.lists(st.tuples(names, values), max_size=5).map(Pairs)
containers = st.lists(st.tuples(st.sampled_from(["id", "type", "fields", "x"]), values | objects), max_size=3).map(
    Pairs
)
records = st.lists(st.tuples(names, values | objects | containers), max_size=7).map(Pairs)


def leaves(value: Any) -> list[str]:
    """All scalars in a value, keys left aside."""
    if isinstance(value, Pairs):
        return [leaf for _, member in value.pairs for leaf in leaves(member)]
    if isinstance(value, dict):
        return [leaf for member in value.values() for leaf in leaves(member)]
    if isinstance(value, list):
        return [leaf for element in value for leaf in leaves(element)]
    return [text_of(value)]


@settings(deadline=None, max_examples=80)
@given(shape=st.sampled_from(SHAPES), drawn=st.lists(records, max_size=3))
def test_normalizing_is_lossless(shape: RecordShape, drawn: list[Any]) -> None:
    """Whatever a record holds is moved, and not lost."""
    shaper = RecordShaper(shaped(shape))
    body = page(shape, drawn)
    sent = shaper.split(body)
    assert [json.loads(record) for record in sent] == [json.loads(text_of(record)) for record in drawn]
    assert list(shaper.split(shaper.join(sent))) == list(sent)
    normalized = split_page(shaper.normalized_page(body))  # type: ignore[arg-type]  # JSON:API is not among them
    for before, after in zip(drawn, normalized, strict=True):
        kept = leaves(json.loads(after, object_pairs_hook=Pairs, parse_int=Digits, parse_float=Digits))
        missing = [leaf for leaf in map(_same, leaves(before)) if leaf not in set(map(_same, kept))]
        # An id that is a number is kept as its digits.
        assert all(f'"{leaf}"' in kept for leaf in missing)


class Digits(str):
    """A number as it was sent."""

    __slots__ = ()


def _same(leaf: str) -> str:
    return leaf.strip('"')


@settings(deadline=None, max_examples=40)
@given(shape=st.sampled_from(SHAPES), drawn=st.lists(records, max_size=3))
def test_columns_and_lines_of_any_shape(shape: RecordShape, drawn: list[Any]) -> None:
    """Records of any shape become rows, and lines as they were sent."""
    block = Decoder(shaped(shape), columns=True, lines="raw").decode([page(shape, drawn)])
    assert block.batch is not None
    assert block.batch.num_rows == len(drawn)
    assert block.lines is not None
    assert [json.loads(line) for line in block.lines] == [json.loads(text_of(record)) for record in drawn]
    if shape.type is None:
        assert block.batch["type"].null_count == len(drawn)


def one_row(shape: RecordShape, record: Any, **changes: Any) -> dict[str, Any]:
    block = Decoder(shaped(shape), columns=True, lines=None, **changes).decode([page(shape, [record])])
    assert block.batch is not None
    row: dict[str, Any] = block.batch.to_pylist()[0]
    row["_extra"] = json.loads(row["_extra"]) if row["_extra"] else None
    return row


def test_attributes_beside_the_id() -> None:
    """Attributes may be members of the record itself."""
    row = one_row(
        SHAPES[0], {"id": "x", "name": "n", "paid": True, "new": 1, **dict.fromkeys(FIELDS.keys() - {"name", "paid"})}
    )
    assert (row["id"], row["type"], row["name"], row["paid"], row["_extra"]) == ("x", None, "n", True, {"new": 1})


def test_nested_parts_are_taken_out() -> None:
    """Parts further down are taken out, and the members around them kept."""
    record = {
        "meta": {"id": "x", "type": "t", "seen": 1},
        "body": {"fields": {"name": "n"}, "etag": "e"},
        "id": "another",
    }
    row = one_row(SHAPES[3], record)
    assert (row["id"], row["type"], row["name"]) == ("x", "t", "n")
    assert row["_extra"] == {"/record": {"//id": "another", "body": {"etag": "e"}, "meta": {"seen": 1}}}


@pytest.mark.parametrize(
    ("sent", "identity", "extra"),
    [
        ("7", "7", None),
        ("-7", "-7", None),
        ('"7"', "7", {"/record": {"//id": "7"}}),
        ("7.0", "7.0", {"/record": {"id": 7.0}}),
        ("9223372036854775808", "9223372036854775808", {"/record": {"id": 9223372036854775808}}),
        ("null", "", {"/record": {"id": None}}),
    ],
)
def test_integer_ids_become_strings(sent: str, identity: str, extra: Any) -> None:
    body = ('{"data":[{"number":' + sent + "}]}").encode()
    block = Decoder(shaped(SHAPES[4]), columns=True, lines=None).decode([body])
    assert block.batch is not None
    assert block.batch["id"].to_pylist() == [identity]
    assert [json.loads(text) if text else None for text in block.batch["_extra"].to_pylist()] == [extra]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[1]",
        b"[{}] []",
        b"{}",
        b'{"a":[]}',
        b'{"a":{"b":null}}',
        b'{"a":{"b":[]},"a":{"b":[]}}',
        b'{"a":{"b":[{}],"b":[]}}',
        b'{"a":{"b":[{"x":NaN}]}}',
        b'\xff{"a":{"b":[]}}',
    ],
)
def test_body_without_the_list_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidPage):
        split_page(body, ("a", "b"))


def test_list_is_found_at_its_path() -> None:
    assert split_page(b'\xef\xbb\xbf [ {"x" : 1} , {} ] ', ()) == [b'{"x" : 1}', b"{}"]
    assert split_page(b'{"n":1,"a":{"c":[{}],"b":[{"x":1}]}}', ("a", "b")) == [b'{"x":1}']


KEY = b"k" * 16


@pytest.mark.parametrize("shape", SHAPES)
def test_redaction_of_any_shape(shape: RecordShape) -> None:
    """Redacted values are in neither columns, lines nor kept pages, whatever the shape."""
    canary = "canary-value"
    identity = {"id": canary, "name": canary}
    attributes = {"name": canary, "new": canary}
    record: dict[str, Any] = {**identity, **(attributes if not shape.attributes else {})}
    for path in filter(None, (shape.id, shape.attributes)):
        parent = record
        for name in path[:-1]:
            parent = parent.setdefault(name, {})
        parent[path[-1]] = canary if path == shape.id else attributes
    redaction = Redaction.from_paths(["new"], ["id", "name"], KEY)
    block = Decoder(shaped(shape), columns=True, lines="raw", redaction=redaction).decode([page(shape, [record])])
    assert canary not in repr(block.batch.to_pylist() if block.batch is not None else None)
    assert canary.encode() not in b"".join(block.lines or [])
    rewrite = page_rewriter(redaction, [shaped(shape)])
    assert rewrite is not None
    assert canary.encode() not in rewrite("things", page(shape, [record]))
    assert "/id" in with_escaped_names(redaction).rules
