"""Hypothesis strategies for JSON as services may send it: as text, so that the test itself loses nothing."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from hypothesis import strategies as st

from bulk_export.core.model import FieldType, Kind, ListOf


def text_of(value: Any) -> str:
    """The JSON text of a drawn value; `Raw` pieces stand as they are."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{text_of(member)}" for key, member in value.pairs) + "}"
    if isinstance(value, dict):
        return text_of(Pairs(list(value.items())))
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    return json.dumps(value, ensure_ascii=not _utf8(str(value)) or crc32(str(value).encode()) % 2 == 0)


class Raw:
    """A JSON number in digits of its own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Raw({self.text})"


class Pairs:
    """A JSON object whose keys may repeat."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

    def __repr__(self) -> str:
        return f"Pairs({self.pairs})"


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


strings = st.text(st.characters(), max_size=12) | st.sampled_from(
    ['"', '":', "\u2028", "\x00", "\ud800", "\udfff\ud800", "\U0010ffff", "\ufeff", "null", "é" * 3]
)
_EDGES = """
0 -0 1 1.0 1e400 -1E-400 0.1 1.00000000000000000001 9007199254740993 1e3 9223372036854775807
9223372036854775808 -9223372036854775809 123456789012345678901234567890
"""
numbers = st.sampled_from(_EDGES.split()).map(Raw) | st.integers(-(2**70), 2**70).map(lambda number: Raw(str(number)))
values = st.recursive(
    st.none() | st.booleans() | numbers | strings,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(strings, inner, max_size=3)
        | st.lists(st.tuples(strings, inner), max_size=3).map(Pairs)
    ),
    max_leaves=6,
)
instants = st.sampled_from(
    [
        "2021-05-31T02:21:32Z",
        "2021-05-31T02:21:32.000Z",
        "2021-05-31T02:21:32.123456Z",
        "2021-05-31T02:21:32.1234567Z",
        "2021-05-31T02:21:32.1234560Z",
        "2021-05-31T02:21:32+01:00",
        "2021-05-31T02:21:32-23:59",
        "2021-05-31T02:21:32+24:00",
        "2021-05-31T02:21:32",
        "2021-05-31 02:21:32Z",
        "2021-05-31T02:21:60Z",
        "2021-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59.999999Z",
        "2021-05-31T24:00:00Z",
        "2021-05-31",
        "2021-05-31T00:00:00+00:00",
        "2021-05-31T00:00:00Z",
        "21-05-31",
        "",
    ]
)


def declared(kind: FieldType) -> st.SearchStrategy[Any]:
    """Values that fit a type, or almost do."""
    if isinstance(kind, ListOf):
        return st.none() | st.lists(member(kind.item), max_size=3)
    if not isinstance(kind, Kind):
        return st.none() | st.fixed_dictionaries({field.name: member(field.type) for field in kind.fields})
    if kind in (Kind.TIMESTAMP, Kind.DATE):
        return st.none() | instants
    if kind is Kind.BOOLEAN:
        return st.none() | st.booleans()
    return st.none() | (strings if kind is Kind.STRING else numbers)


def member(kind: FieldType) -> st.SearchStrategy[Any]:
    """Mostly values that fit, sometimes anything."""
    return st.integers(0, 9).flatmap(lambda dice: values if dice == 0 else declared(kind))


def records(fields: dict[str, FieldType]) -> st.SearchStrategy[Any]:
    """Records with all or some described attributes, with others, or with repeated keys."""
    full = st.fixed_dictionaries({name: member(kind) for name, kind in fields.items()})
    some = st.dictionaries(strings | st.sampled_from(sorted(fields)), values, max_size=4)
    repeating = st.lists(st.tuples(st.sampled_from([*sorted(fields), "/x", "id"]), values), max_size=4).map(Pairs)
    attributes = st.integers(0, 9).flatmap(lambda dice: some if dice == 0 else repeating if dice == 1 else full)
    tidy = st.fixed_dictionaries({"id": st.uuids().map(str), "type": st.just("thing"), "attributes": attributes})
    odd = st.dictionaries(st.sampled_from(["id", "type", "attributes", "relationships", "/links"]), values, max_size=5)
    return st.integers(0, 9).flatmap(lambda dice: odd if dice == 0 else tidy)
