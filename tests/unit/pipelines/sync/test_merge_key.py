"""Which columns identify a row of a copy."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from bulk_export.core.model import RecordShape
from bulk_export.pipelines.sync.merge_key import merge_key
from bulk_export.services.catalogue import load_service

STATEMENTS = next(one for one in load_service("npq").endpoints if one.name == "statements")
COLUMNS = pa.schema(
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
    endpoint = replace(STATEMENTS, shape=RecordShape(identity=identity))
    assert merge_key(endpoint, COLUMNS) == wanted


def test_attributes_may_stand_beside_the_id() -> None:
    shape = RecordShape(attributes=(), id=("uuid",), type=None, identity=(("uuid",), ("training",)))
    assert merge_key(replace(STATEMENTS, shape=shape), COLUMNS) == (("id",), ("training",))
