"""The values that identify a record, as a description states them: the id, or one or several other fields."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.core.model import RecordShape
from bulk_export.errors import UsageError
from bulk_export.services.description import read_description

TRAINING = ("attributes", "training_record_id")


def shape(records: dict[str, Any], common: dict[str, Any] | None = None, **endpoint: Any) -> RecordShape:
    """The shape of an endpoint whose `records` table is given, below that of the service."""
    document = {
        "name": "people",
        "records": common or {},
        "versions": {"v1": {"participants": {"path": "/people", "records": records, **endpoint}}},
    }
    (described,) = read_description(document, None).endpoints
    return described.shape


def test_id_identifies_by_default() -> None:
    assert shape({}).identity == ()
    assert shape({"identity": ["id"]}) == shape({"identity": []}) == RecordShape()


@pytest.mark.parametrize("key", ["id", "identity"])
def test_one_field_identifies(key: str) -> None:
    """A single field may identify records; the path of the id stays the same."""
    assert shape({key: ["attributes.training_record_id"]}) == RecordShape(identity=(TRAINING,))


@pytest.mark.parametrize("key", ["id", "identity"])
def test_several_fields_identify_together(key: str) -> None:
    assert shape({key: ["id", "attributes.training_record_id"]}) == RecordShape(identity=(("id",), TRAINING))


def test_path_as_a_list_of_names_with_dots() -> None:
    assert shape({"identity": ["id", ["attributes", "a.b"]]}).identity == (("id",), ("attributes", "a.b"))


def test_path_of_an_id_is_no_list_of_fields() -> None:
    """A list of names is the path of one id, as before identities could be stated."""
    assert shape({"id": ["meta", "uuid"]}) == RecordShape(id=("meta", "uuid"))
    assert shape({"id": ["loan.number"], "attributes": []}) == RecordShape(("data",), ("loan.number",), None, ())


def test_flat_records_are_identified_by_their_members() -> None:
    assert shape({"id": ["id", "branch.code"], "attributes": []}).identity == (("id",), ("branch", "code"))
    assert shape({"identity": ["id", "year"], "attributes": []}).identity == (("id",), ("year",))


def test_csv_columns_identify_by_their_names() -> None:
    for key in ("id", "identity"):
        found = shape({key: ["id", "training.record"]}, format="csv")
        assert (found.id, found.identity) == (("id",), (("id",), ("training.record",)))
    assert shape({"id": ["a.b"]}, format="csv").id == ("a.b",)


def test_endpoint_overrides_the_service() -> None:
    """An endpoint has the identity of the service, or states its own."""
    common = {"identity": ["attributes.training_record_id"]}
    assert shape({}, common).identity == (TRAINING,)
    assert shape({}, common, format="csv").identity == (("training_record_id",),)
    assert shape({"identity": []}, common).identity == shape({"id": ["uuid"]}, common).identity == ()


@pytest.mark.parametrize(
    "records",
    [
        {"id": ["attributes.a"], "identity": ["id"]},
        {"identity": "id"},
        {"identity": [3]},
        {"identity": ["a..b"]},
        {"identity": [[]]},
        {"identity": ["id", "id"]},
    ],
)
def test_malformed_identity_is_refused_with_its_key(records: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"versions\.v1\.participants\.records\.id"):
        shape(records)
