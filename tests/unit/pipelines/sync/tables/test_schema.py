"""Columns of a table: added to, never changed, and some of them its key."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from bulk_export.core.model import Field, Kind, ListOf, RecordShape, Struct
from bulk_export.pipelines.sync.tables.schema import as_copied, keeps_columns, merge_key, merged_schema
from bulk_export.services.catalogue import load_service
from bulk_export.transform import schema

INSTANT = pa.timestamp("us", "UTC")
NESTED = pa.list_(pa.struct([("email", pa.string())]))
WIDER = pa.list_(pa.struct([("email", pa.string()), ("rank", pa.int64())]))
OWN = [pa.field("_extra", pa.string()), pa.field("_synced_at", INSTANT), pa.field("_removed_at", INSTANT)]
(ENDPOINT,) = (one for one in load_service("npq").endpoints if one.name == "statements")


def fetched(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([("id", pa.string()), ("type", pa.string()), *columns, ("_extra", pa.string())])


def copied(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([("id", pa.string()), ("type", pa.string()), *columns, *OWN])


def test_a_new_copy_has_the_columns_that_were_fetched_and_its_own() -> None:
    made = merged_schema(None, fetched(("n", pa.int64())))
    assert made.names == ["id", "type", "n", "_extra", "_synced_at", "_removed_at"]
    assert made.field("_removed_at").type == INSTANT


def test_new_columns_and_new_members_are_added_and_old_ones_stay() -> None:
    made = merged_schema(
        copied(("old", pa.date32()), ("people", NESTED)), fetched(("people", WIDER), ("new", pa.bool_()))
    )
    assert made.names == ["id", "type", "old", "people", "new", "_extra", "_synced_at", "_removed_at"]
    assert made.field("people").type == WIDER


def test_a_column_never_changes_its_type() -> None:
    with pytest.raises(ValueError, match="a column of int64 would become one of string"):
        merged_schema(copied(("n", pa.int64())), fetched(("n", pa.string())))


def test_whether_a_column_only_gained_members_is_told_from_whether_columns_were_added() -> None:
    before = copied(("people", NESTED))
    assert keeps_columns(before, merged_schema(before, fetched(("people", NESTED), ("new", pa.bool_()))))
    assert not keeps_columns(before, merged_schema(before, fetched(("people", WIDER))))


def test_what_was_learned_earlier_is_described_from_then_on_with_the_type_it_has() -> None:
    there = pa.schema(
        [
            *schema.arrow_schema(ENDPOINT),
            pa.field("learned", pa.large_list(pa.struct([("day", pa.date32())]))),
            *OWN[1:],
        ]
    )
    described = as_copied(ENDPOINT, there)
    assert described.fields == (*ENDPOINT.fields, Field("learned", ListOf(Struct((Field("day", Kind.DATE),)))))
    assert as_copied(ENDPOINT, None) is ENDPOINT


def test_where_a_newer_description_knows_another_type_the_copy_keeps_its_own() -> None:
    newer = replace(
        ENDPOINT, fields=(Field("n", Kind.BOOLEAN), Field("people", ListOf(Struct((Field("a", Kind.DATE),)))))
    )
    assert as_copied(newer, copied(("n", pa.string()), ("people", NESTED))).fields == (
        Field("n", Kind.STRING),
        Field("people", ListOf(Struct((Field("a", Kind.DATE), Field("email", Kind.STRING))))),
    )


def test_names_that_a_copy_needs_for_itself_are_no_columns_of_records() -> None:
    named = replace(ENDPOINT, fields=(Field("_removed_at", Kind.TIMESTAMP), Field("_synced_at", Kind.STRING)))
    assert schema.columns(named) == ()


KEY_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("training", pa.string()),
        ("place", pa.struct([("number", pa.int64())])),
        ("list", pa.list_(pa.string())),
    ]
)


@pytest.mark.parametrize(
    ("identity", "wanted"),
    [
        ((), (("id",),)),
        ((("id",),), (("id",),)),
        ((("attributes", "training"),), (("training",),)),
        ((("id",), ("attributes", "training")), (("id",), ("training",))),
        ((("type",), ("attributes", "place", "number")), (("type",), ("place", "number"))),
        # What has no column of its own cannot be compared; rows that share an id are told apart by their content.
        ((("id",), ("attributes", "dropped")), (("id",),)),
        ((("attributes", "list"),), (("id",),)),
        ((("meta", "key"),), (("id",),)),
        ((("attributes",),), (("id",),)),
    ],
)
def test_the_key_follows_the_identity_of_the_records(
    identity: tuple[tuple[str, ...], ...], wanted: tuple[tuple[str, ...], ...]
) -> None:
    endpoint = replace(ENDPOINT, shape=RecordShape(identity=identity))
    assert merge_key(endpoint, KEY_COLUMNS) == wanted


def test_attributes_may_stand_beside_the_id() -> None:
    shape = RecordShape(attributes=(), id=("uuid",), type=None, identity=(("uuid",), ("training",)))
    assert merge_key(replace(ENDPOINT, shape=shape), KEY_COLUMNS) == (("id",), ("training",))
