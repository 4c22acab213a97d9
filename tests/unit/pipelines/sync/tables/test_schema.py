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


def test_a_new_table_has_fetched_and_sync_columns() -> None:
    made = merged_schema(None, fetched(("n", pa.int64())))
    assert made.names == ["id", "type", "n", "_extra", "_synced_at", "_removed_at"]
    assert made.field("_removed_at").type == INSTANT


def test_columns_and_members_are_only_added() -> None:
    made = merged_schema(
        copied(("old", pa.date32()), ("people", NESTED)), fetched(("people", WIDER), ("new", pa.bool_()))
    )
    assert made.names == ["id", "type", "old", "people", "new", "_extra", "_synced_at", "_removed_at"]
    assert made.field("people").type == WIDER


def test_a_column_never_changes_its_type() -> None:
    with pytest.raises(ValueError, match="a column of int64 would become one of string"):
        merged_schema(copied(("n", pa.int64())), fetched(("n", pa.string())))


def test_a_wider_column_is_not_kept() -> None:
    """An added column keeps the others; a member that is added to a column changes that column."""
    before = copied(("people", NESTED))
    assert keeps_columns(before, merged_schema(before, fetched(("people", NESTED), ("new", pa.bool_()))))
    assert not keeps_columns(before, merged_schema(before, fetched(("people", WIDER))))


def test_columns_of_the_table_become_fields() -> None:
    """A column that no description has is described from then on, with the type that it has."""
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


def test_the_type_of_the_table_wins() -> None:
    """If a newer description gives a field another type, the column keeps its own."""
    newer = replace(
        ENDPOINT, fields=(Field("n", Kind.BOOLEAN), Field("people", ListOf(Struct((Field("a", Kind.DATE),)))))
    )
    assert as_copied(newer, copied(("n", pa.string()), ("people", NESTED))).fields == (
        Field("n", Kind.STRING),
        Field("people", ListOf(Struct((Field("a", Kind.DATE), Field("email", Kind.STRING))))),
    )


def test_sync_columns_are_not_attributes() -> None:
    """An attribute with the name of a column that sync adds has no column."""
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
def test_the_key_follows_the_identity_of_records(
    identity: tuple[tuple[str, ...], ...], wanted: tuple[tuple[str, ...], ...]
) -> None:
    endpoint = replace(ENDPOINT, shape=RecordShape(identity=identity))
    assert merge_key(endpoint, KEY_COLUMNS) == wanted


def test_the_key_of_flat_records() -> None:
    """Attributes may stand beside the id rather than below `attributes`."""
    shape = RecordShape(attributes=(), id=("uuid",), type=None, identity=(("uuid",), ("training",)))
    assert merge_key(replace(ENDPOINT, shape=shape), KEY_COLUMNS) == (("id",), ("training",))
