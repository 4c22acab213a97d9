"""Reading a description: its defaults, its settings, and what is refused with the path of its key."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Authorization, Field, Kind, Limit, ListOf, Paging, RecordShape, Struct
from bulk_export.errors import UsageError
from bulk_export.services.description import read_description


def described(endpoint: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    boxes = {"path": "/boxes", "filters": ["colour"], "fields": {"colour": "string"}} | (endpoint or {})
    return {"name": "things", "versions": {"v1": {"boxes": boxes}}} | top


def test_description_is_read_as_written() -> None:
    document = {
        "name": "things",
        "title": "Things",
        "default_version": "v1",
        "limits": {"service": "10/1s", "ip": "5/1s"},
        "pages": {"default": 10, "largest": 50},
        "versions": {
            "v1": {
                "boxes": {
                    "path": "/boxes",
                    "record_type": "box",
                    "filters": [],
                    "order": ["id"],
                    "order_is_total": True,
                    "fields": {"tags": ["string"], "lid": {"closed": "boolean", "hinges": [{"width": "number"}]}},
                }
            }
        },
    }
    service = read_description(document, None)
    (boxes,) = service
    assert service.service_limit == Limit(10, 1.0)
    assert (boxes.since, boxes.sort) == (None, None)
    hinge = Struct((Field("width", Kind.NUMBER),))
    assert boxes.fields == (
        Field("tags", ListOf(Kind.STRING)),
        Field("lid", Struct((Field("closed", Kind.BOOLEAN), Field("hinges", ListOf(hinge))))),
    )


def test_defaults_are_those_of_npq() -> None:
    """What a description omits is as for npq, except that limits and the largest page are not known."""
    service = read_description(described(), None)
    (boxes,) = service
    assert (boxes.paging, boxes.shape, service.auth) == (Paging(largest=None), RecordShape(), Authorization())
    assert (service.service_limit, service.ip_limit, service.largest_page_size) == (None, None, None)
    assert (boxes.format, boxes.sorts, boxes.filter_types, boxes.order_is_total) == ("json", (), (), False)


def test_endpoint_overrides_the_service() -> None:
    """Every setting is read, and an endpoint's own settings override those of the service."""
    document = described(
        {
            "sorts": ["size", "-size"],
            "filter_types": {"colour": "uuids"},
            "pages": {"style": "pages", "number": "p", "first": 0},
            "records": {"at": [], "id_type": "integer"},
        },
        pages={
            "largest": 40,
            "style": "offset",
            "number": "offset",
            "size": "limit",
            "filter": "{name}",
            "sort": "order_by",
        },
        records={"at": ["result", "items"], "id": ["number"], "attributes": []},
        auth={"header": "X-Api-Key", "scheme": ""},
    )
    service = read_description(document, "v1")
    (boxes,) = service
    assert service.auth == Authorization("X-Api-Key", "")
    assert boxes.paging == Paging("pages", "p", "limit", 0, "{name}", "order_by", 40)
    assert boxes.shape == RecordShape((), ("number",), None, (), Kind.INTEGER)
    assert (boxes.sorts, boxes.filter_types) == (("size", "-size"), (("colour", "uuids"),))


def test_offsets_begin_at_0_unless_stated() -> None:
    for stated, first in (({}, 0), ({"first": 1}, 1)):
        (boxes,) = read_description(described(pages={"style": "offset", "number": "o", "size": "n"} | stated), None)
        assert boxes.paging.first == first


def test_csv_endpoint_is_one_request_of_flat_rows() -> None:
    (boxes,) = read_description(described({"format": "csv"}), None)
    assert boxes.paging.style == "none"
    assert boxes.shape == RecordShape((), ("id",), None, ())


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        (described(nmae="x"), "nmae", "name"),
        (described(pages={"defualt": 5}), "pages.defualt", "default"),
        (described(pages={"style": "page"}), "pages.style", "pages"),
        (described(pages={"largest": 0}), "pages.largest", ""),
        (described(pages={"largest": True}), "pages.largest", ""),
        (described(pages={"first": 2}), "pages.first", ""),
        (described(pages={"filter": "filter"}), "pages.filter", ""),
        (described(pages={"size": "page[page]"}), "pages.size", ""),
        (described(records={"id": [""]}), "records.id", ""),
        (described(records={"at": "data"}), "records.at", ""),
        (described(limits={"service": "1000"}), "limits.service", "1000/5m"),
        (described(limits=[]), "limits", ""),
        (described(auth={"header": "X Key"}), "auth.header", ""),
        (described(auth={"header": "X\r\nHost"}), "auth.header", ""),
        (described(environments={"live": 5}), "environments.live", ""),
        (described(name="../up"), "name", ""),
        (described(versions={}), "versions", ""),
        (described(default_version="v2"), "default_version", "v1"),
        (described({"path": "boxes"}), "versions.v1.boxes.path", ""),
        (described({"path": None}), "versions.v1.boxes.path", ""),
        (described({"filtres": []}), "versions.v1.boxes.filtres", "filters"),
        (described({"since": "color"}), "versions.v1.boxes.since", "colour"),
        (described({"fields": {"a": {"b": ["strnig"]}}}), "versions.v1.boxes.fields.a.b", "string"),
        (described({"fields": {"a": ["string", "date"]}}), "versions.v1.boxes.fields.a", ""),
        (described({"format": "xml"}), "versions.v1.boxes.format", "csv"),
        (described({"format": "csv", "pages": {"style": "pages"}}), "versions.v1.boxes.format", ""),
        (described({"filter_types": {"color": "string"}}), "versions.v1.boxes.filter_types.color", "colour"),
        (described({"filter_types": {"colour": "uuid"}}), "versions.v1.boxes.filter_types.colour", "uuids"),
        (described({"order_is_total": "yes"}), "versions.v1.boxes.order_is_total", ""),
        (described({"records": {"attribute": []}}), "versions.v1.boxes.records.attribute", "attributes"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_wrong_key_is_named_by_its_path(document: dict[str, Any], path: str, hint: str) -> None:
    """An error names the path of the key that is wrong, and suggests the right one."""
    with pytest.raises(UsageError) as refused:
        read_description(document, None)
    assert path in refused.value.what
    assert hint in " ".join(refused.value.lines())


def test_endlessly_nested_types_are_refused() -> None:
    declared: Any = "string"
    for _ in range(500):
        declared = {"a": declared}
    with pytest.raises(UsageError, match="nested"):
        read_description(described({"fields": declared}), None)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["name", "versions", "pages", "records", "auth", "limits", "environments"]), JSONISH, st.data())
def test_any_value_is_read_or_refused(key: str, value: Any, data: st.DataObject) -> None:
    """Whatever value a key has, the description is read, or refused with a UsageError."""
    keys = ["style", "number", "first", "at", "id", "attributes", "header", "service", "v1"]
    document = described(**{key: value if data.draw(st.booleans()) else {data.draw(st.sampled_from(keys)): value}})
    with contextlib.suppress(UsageError):
        assert read_description(document, None).name
