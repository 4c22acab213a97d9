"""Columns of a copy: added to, never changed."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from bulk_export.core.model import Field, Kind, ListOf, Struct
from bulk_export.pipelines.sync.schema import described_as_copied, is_only_added_to, united
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
    made = united(None, fetched(("n", pa.int64())))
    assert made.names == ["id", "type", "n", "_extra", "_synced_at", "_removed_at"]
    assert made.field("_removed_at").type == INSTANT


def test_new_columns_and_new_members_are_added_and_old_ones_stay() -> None:
    made = united(copied(("old", pa.date32()), ("people", NESTED)), fetched(("people", WIDER), ("new", pa.bool_())))
    assert made.names == ["id", "type", "old", "people", "new", "_extra", "_synced_at", "_removed_at"]
    assert made.field("people").type == WIDER


def test_a_column_never_changes_its_type() -> None:
    with pytest.raises(ValueError, match="a column of int64 would become one of string"):
        united(copied(("n", pa.int64())), fetched(("n", pa.string())))


def test_whether_a_column_only_gained_members_is_told_from_whether_columns_were_added() -> None:
    before = copied(("people", NESTED))
    assert is_only_added_to(before, united(before, fetched(("people", NESTED), ("new", pa.bool_()))))
    assert not is_only_added_to(before, united(before, fetched(("people", WIDER))))


def test_what_was_learned_earlier_is_described_from_then_on_with_the_type_it_has() -> None:
    there = pa.schema(
        [
            *schema.arrow_schema(ENDPOINT),
            pa.field("learned", pa.large_list(pa.struct([("day", pa.date32())]))),
            *OWN[1:],
        ]
    )
    described = described_as_copied(ENDPOINT, there)
    assert described.fields == (*ENDPOINT.fields, Field("learned", ListOf(Struct((Field("day", Kind.DATE),)))))
    assert described_as_copied(ENDPOINT, None) is ENDPOINT


def test_where_a_newer_description_knows_another_type_the_copy_keeps_its_own() -> None:
    newer = replace(
        ENDPOINT, fields=(Field("n", Kind.BOOLEAN), Field("people", ListOf(Struct((Field("a", Kind.DATE),)))))
    )
    assert described_as_copied(newer, copied(("n", pa.string()), ("people", NESTED))).fields == (
        Field("n", Kind.STRING),
        Field("people", ListOf(Struct((Field("a", Kind.DATE), Field("email", Kind.STRING))))),
    )


def test_names_that_a_copy_needs_for_itself_are_no_columns_of_records() -> None:
    named = replace(ENDPOINT, fields=(Field("_removed_at", Kind.TIMESTAMP), Field("_synced_at", Kind.STRING)))
    assert schema.columns(named) == ()
