"""Columns for what no description knows: types widen, in any order, and never at the cost of a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Field, FieldType, Kind, ListOf, Struct
from bulk_export.services.field_types import fields_to_text, with_fields
from bulk_export.transform.decode import Decoder
from bulk_export.transform.inference import SchemaScan
from tests.support.described import THINGS, endpoint, page
from tests.support.json_values import strings, text_of, values

BARE = endpoint({"known": Struct((Field("name", Kind.STRING),)), "list": ListOf(Struct((Field("a", Kind.INTEGER),)))})


def inferred(*texts: str) -> FieldType | None:
    inference = SchemaScan(BARE)
    for text in texts:
        inference.observe(f'{{"id":"x","type":"t","attributes":{{"new":{text}}}}}'.encode())
    return {one.name: one.type for one in inference.inferred().fields}.get("new")


@pytest.mark.parametrize(
    ("texts", "declared"),
    [
        (["true", "null"], Kind.BOOLEAN),
        (["1", "-2"], Kind.INTEGER),
        (["1", "2.5"], Kind.NUMBER),
        (["1.0"], Kind.NUMBER),
        (['"a"'], Kind.STRING),
        (['"2021-05-31"'], Kind.DATE),
        (['"2021-05-31T02:21:32Z"'], Kind.TIMESTAMP),
        (['"2021-05-31"', '"2021-05-31T02:21:32Z"'], Kind.TIMESTAMP),
        (['"2021-05-31"', '"a"'], Kind.STRING),
        (['"2021-05-31T02:21:32"'], Kind.STRING),
        (["[1]", "[]", "[2.5]"], ListOf(Kind.NUMBER)),
        (["[[true]]"], ListOf(ListOf(Kind.BOOLEAN))),
        (['{"b":1}', '{"a":"x"}'], Struct((Field("a", Kind.STRING), Field("b", Kind.INTEGER)))),
        (['{"b":1,"a":[]}'], Struct((Field("b", Kind.INTEGER),))),
        (["1", '"a"'], None),
        (["true", "1"], None),
        (["1", "[1]"], None),
        (["1", "{}"], None),
        (["null"], None),
        (["[]"], None),
        (["{}"], None),
        (["9007199254740993.5"], None),
        (["1", "123456789012345678901234567890"], None),
        (['"\\ud800"'], None),
    ],
)
def test_narrowest_common_type_is_inferred(texts: list[str], declared: FieldType | None) -> None:
    assert inferred(*texts) == declared
    assert inferred(*reversed(texts)) == declared


def test_object_with_many_names_gets_no_column() -> None:
    """An object with more than 500 names is a map, and not a row of columns."""
    members = {f"n{number}": 1 for number in range(501)}
    assert inferred(json.dumps(members)) is None
    assert inferred(*(json.dumps({name: 1}) for name in members)) is None


def test_very_deep_values_get_no_column() -> None:
    assert inferred("[" * 60 + "]" * 60) is None


def test_new_members_inside_described_types() -> None:
    """New members of described objects, and of those in lists, are found; described types stay as they are."""
    inference = SchemaScan(BARE)
    attributes = {"known": {"name": 5, "at": "2021-05-31"}, "list": [{"a": "x"}, {"b": True}], "id": 1, "type": "x"}
    inference.observe(json.dumps({"id": "x", "attributes": attributes}).encode())
    fields = {one.name: one.type for one in inference.inferred().fields}
    assert fields["known"] == Struct((Field("name", Kind.STRING), Field("at", Kind.DATE)))
    assert fields["list"] == ListOf(Struct((Field("a", Kind.INTEGER), Field("b", Kind.BOOLEAN))))


def test_unusable_names_get_no_column() -> None:
    inference = SchemaScan(BARE)
    inference.observe(b'{"id":"x","attributes":{"":1,"\\ud800":1,"a\\u0000":1,"fine":1}}')
    assert [one.name for one in inference.inferred().fields] == ["known", "list", "fine"]


def test_names_that_differ_by_case_get_one_column() -> None:
    inference = SchemaScan(BARE)
    inference.observe(b'{"id":"x","attributes":{"Known":1,"new":2,"New":3,"known":{"a":1,"A":2}}}')
    fields = {one.name: one.type for one in inference.inferred().fields}
    assert list(fields) == ["known", "list", "New"]
    assert fields["known"] == Struct((Field("name", Kind.STRING), Field("A", Kind.INTEGER)))


records = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.just("x"),
            "type": st.just("thing"),
            "attributes": st.dictionaries(
                strings | st.sampled_from(["a", "b", "name", "enrolments"]), values, max_size=4
            ),
        }
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=35)
@given(drawn=records, data=st.data())
def test_inference_is_stable_and_lossless(drawn: list[Any], data: st.DataObject) -> None:
    """The result depends neither on the order of records nor on pages, and no value changes by moving to a column."""

    def found(of: list[Any], size: int) -> Any:
        surveyor = SchemaScan(THINGS)
        for start in range(0, len(of), size):
            surveyor.scan([page(*of[start : start + size])])
        return surveyor.inferred()

    described = found(drawn, 2)
    shuffled = data.draw(st.permutations(drawn))
    assert found(shuffled, data.draw(st.integers(1, 6))) == described
    assert with_fields(THINGS, fields_to_text(described)) == described
    assert described.fields[: len(THINGS.fields)] == tuple(
        one for one in described.fields if one.name in {field.name for field in THINGS.fields}
    )

    lines = Decoder(described, columns=True, lines="raw").decode([page(*drawn)])
    assert lines.batch is not None
    assert lines.batch.num_rows == len(drawn)
    assert [json.loads(line) for line in lines.lines or []] == [json.loads(text_of(one)) for one in drawn]
    before = Decoder(THINGS, columns=True, lines=None).decode([page(*drawn)])
    assert before.batch is not None
    for name in before.batch.schema.names:
        if (
            not isinstance({one.name: one.type for one in THINGS.fields}.get(name), ListOf | Struct)
            and name != "_extra"
        ):
            assert lines.batch[name].equals(before.batch[name])
