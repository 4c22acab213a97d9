"""Field types in the form that descriptions use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.model import Field, FieldType, Kind, ListOf, Struct
from bulk_export.errors import UsageError
from bulk_export.services.field_types import fields_to_text, type_from_json, type_to_json, with_fields
from tests.support.described import THINGS

TYPES = st.recursive(
    st.sampled_from(Kind),
    lambda types: (
        st.builds(ListOf, types)
        | st.dictionaries(st.text(min_size=1), types, max_size=4).map(
            lambda members: Struct(tuple(Field(name, declared) for name, declared in members.items()))
        )
    ),
    max_leaves=8,
)


@given(TYPES)
def test_types_round_trip(declared: FieldType) -> None:
    assert type_from_json(type_to_json(declared), "field") == declared


def test_form_of_types() -> None:
    """A list is written as an array of one type, an object as a table of its members."""
    declared = ListOf(Struct((Field("name", Kind.STRING), Field("dates", ListOf(Kind.DATE)))))
    assert type_to_json(declared) == [{"name": "string", "dates": ["date"]}]


def test_fields_of_an_endpoint_round_trip() -> None:
    bare = replace(THINGS, fields=())
    assert with_fields(bare, fields_to_text(THINGS)) == THINGS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("strin", "field must be one of: string, boolean"),
        (["string", "date"], "field must be a list of one type"),
        ([], "field must be a list of one type"),
        (7, "field must be a table"),
        ({"a": {"b": "?"}}, r"field\.a\.b must be one of"),
    ],
)
def test_other_values_are_refused_with_their_path(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        type_from_json(value, "field")


def test_depth_is_bounded() -> None:
    value: Any = "string"
    for _ in range(102):
        value = [value]
    with pytest.raises(UsageError, match="more than 100 levels"):
        type_from_json(value, "field")
