"""Arrow types for described fields."""

from __future__ import annotations

import pyarrow as pa

from bulk_export.core.model import Field, Kind, ListOf, Struct
from bulk_export.services.catalogue import built_in_services, load_service
from bulk_export.transform.schema import arrow_schema, arrow_type, column_types, columns, describe, with_distinct_names
from tests.support.described import THINGS, endpoint


def test_columns_are_in_the_described_order() -> None:
    """Columns are in the order of the description, between `id` and `type` and `_extra`."""
    names = arrow_schema(THINGS).names
    assert names == ["id", "type", *(field.name for field in THINGS.fields), "_extra"]


def test_only_the_id_is_not_nullable() -> None:
    assert [field.name for field in arrow_schema(THINGS) if not field.nullable] == ["id"]


def test_arrow_type_of_each_kind() -> None:
    """Each scalar kind has its Arrow type."""
    assert {kind: str(arrow_type(kind)) for kind in Kind if kind is not Kind.ANY} == {
        Kind.STRING: "string",
        Kind.BOOLEAN: "bool",
        Kind.INTEGER: "int64",
        Kind.NUMBER: "double",
        Kind.TIMESTAMP: "timestamp[us, tz=UTC]",
        Kind.DATE: "date32[day]",
    }


def test_types_are_named_as_arrow_names_them() -> None:
    """Without Arrow, the columns of a manifest have the texts of its types, for anything that is described."""
    nested = ListOf(Struct((Field("days", ListOf(Kind.DATE)), Field("in", Struct((Field("b c", Kind.NUMBER),))))))
    odd = endpoint({"a": nested, "b": ListOf(ListOf(Kind.BOOLEAN)), "c": Kind.ANY, "d:<,>": Kind.INTEGER})
    built_in = [described for service in map(load_service, built_in_services()) for described in service]
    for described in (odd, THINGS, *built_in):
        assert column_types(described) == describe(arrow_schema(described))


def test_lists_and_objects_nest() -> None:
    nested = ListOf(Struct((Field("days", ListOf(Kind.DATE)),)))
    assert arrow_type(nested) == pa.list_(pa.struct([pa.field("days", pa.list_(pa.date32()))]))


def test_reserved_names_have_no_column() -> None:
    described = endpoint({"id": Kind.INTEGER, "_extra": Kind.STRING, "type": Kind.DATE, "name": Kind.STRING})
    assert [field.name for field in columns(described)] == ["name"]
    assert arrow_schema(described).names == ["id", "type", "name", "_extra"]


def test_first_of_similar_names_has_the_column() -> None:
    """Of attributes or members that a reader confuses, the first has the column, at every level."""
    inside = Struct((Field("Email", Kind.STRING), Field("email", Kind.DATE), Field("a`b", Kind.STRING)))
    described = endpoint({"ID": Kind.INTEGER, "_Synced_At": Kind.DATE, "one": inside, "ONE": Kind.DATE, "": Kind.DATE})
    assert columns(described) == (Field("one", Struct((Field("Email", Kind.STRING),))),)
    assert columns(endpoint({"many": ListOf(inside)})) == (Field("many", ListOf(Struct((inside.fields[0],)))),)


def test_built_in_names_are_distinct() -> None:
    for service in map(load_service, built_in_services()):
        for described in service:
            assert with_distinct_names(described) == described


def test_object_without_members_has_no_column() -> None:
    """Parquet cannot hold an object without members."""
    hollow = endpoint({"a": Struct(()), "b": ListOf(Struct((Field("c", Struct(())),))), "name": Kind.STRING})
    assert arrow_schema(hollow).names == ["id", "type", "name", "_extra"]


def test_describe_lists_names_and_types() -> None:
    assert describe(arrow_schema(endpoint({"born": Kind.DATE}))) == [
        {"name": "id", "type": "string"},
        {"name": "type", "type": "string"},
        {"name": "born", "type": "date32[day]"},
        {"name": "_extra", "type": "string"},
    ]


def test_every_built_in_endpoint_has_a_schema() -> None:
    for service in map(load_service, built_in_services()):
        for described in service:
            reserved = {field.name for field in described.fields} & {"id", "type", "_extra"}
            assert len(arrow_schema(described)) == len(described.fields) + 3 - len(reserved)
