"""Every list in a document is described, or left out with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import UsageError
from bulk_export.services.catalogue import choose_endpoints
from bulk_export.services.description import read_description
from bulk_export.services.openapi.naming import parse_path
from tests.support.specs import RECORD, answering, array, described, listing, query, read

PAGED = [query("page", minimum=1), query("size")]


@pytest.mark.parametrize(
    ("path", "item", "reason"),
    [
        ("/boxes/{id}/lids", listing(*PAGED), "its path needs id"),
        ("/search", {"post": listing()["get"]}, "it is requested by POST"),
        ("/numbers", listing(schema=array({"type": "integer"})), "its list does not contain objects"),
        (
            "/both",
            listing(schema={"properties": {"red": array(RECORD), "blue": array(RECORD)}}),
            "it has several lists (red, blue), and which has the records is not known",
        ),
        ("/open", answering({"application/json": {}}), "the OpenAPI file does not describe its response"),
        (
            "/next",
            listing(query("page_token", type="string"), query("limit")),
            "paging by page_token is not supported, only by page number or offset",
        ),
        (
            "/limited",
            listing(query("limit")),
            "paging by limit is not supported, only by page number or offset",
        ),
        (
            "/begun",
            listing(query("start")),
            "paging by start is not supported, only by page number or offset",
        ),
        (
            "/odd",
            listing(query("pageRef"), query("n")),
            "it may page by pageRef, in a way that is not known",
        ),
        (
            "/paged.csv",
            answering({"text/csv": {}}, *PAGED),
            "it returns CSV in pages",
        ),
        (
            "/silent",
            {"get": {"responses": {"200": {"description": "ok"}}}},
            "the OpenAPI file does not describe its response",
        ),
        (
            "/boxes.xml",
            answering({"application/xml": {"schema": array(RECORD)}}),
            "its media type, application/xml, is not supported",
        ),
        (
            "/lines",
            answering({"application/x-ndjson": {}}),
            "its media type, application/x-ndjson, is not supported",
        ),
        (
            "/by-name",
            listing(schema={"type": "object", "additionalProperties": RECORD}),
            "its records are the members of an object, not of a list",
        ),
        (
            "/either",
            listing(schema={"oneOf": [array(RECORD), RECORD]}),
            "its response may be a list or something else",
        ),
        (
            "/linked",
            listing(schema={"properties": {"data": array(RECORD), "links": {"properties": {"next": {}}}}}),
            "its response mentions further pages (next), but no parameter selects them",
        ),
        (
            "/mine",
            listing(*PAGED, query("filter[a]"), query("tenant") | {"required": True}),
            "it requires tenant, which cannot be given as a filter",
        ),
    ],
)
def test_excluded_list_has_a_reason(path: str, item: Any, reason: str) -> None:
    """A list that cannot be described is in `left_out` with the reason; alone it is refused."""
    found = described({path: item, "/boxes": listing(*PAGED)})
    assert found.document["left_out"] == {"v1": {path: reason}}
    assert read_description(found.document, None).left_out == ((path, reason),)
    assert found.left_out == (f"{path} is left out: {reason}",)
    with pytest.raises(UsageError, match="no list endpoint") as refused:
        described({path: item})
    assert reason in refused.value.next_step


@pytest.mark.parametrize("name", ["boxes-lids", "lids", "/boxes/{id}/lids"])
def test_naming_an_excluded_list_gives_the_reason(name: str) -> None:
    service = read({"/boxes": listing(*PAGED), "/boxes/{id}/lids": listing(*PAGED)})
    with pytest.raises(UsageError) as refused:
        choose_endpoints(service, [name])
    assert refused.value.next_step == "/boxes/{id}/lids is left out: its path needs id. It has: boxes."


def test_other_operations_are_not_left_out() -> None:
    """Operations that return no list are not in `left_out`."""
    paths = {
        "/boxes": listing(*PAGED),
        "/boxes/{id}": listing(schema=RECORD),
        "/health": listing(schema={"properties": {"status": {"type": "string"}}}),
        "/picture": answering({"image/png": {}}),
        "/counts": listing(schema={"type": "object", "additionalProperties": {"type": "integer"}}),
        "/boxes/{id}/picture": answering({"application/json": {}}),
    }
    assert "left_out" not in described(paths).document


def test_other_operations_are_no_endpoints() -> None:
    """Operations that return no list are no endpoints; a document without any list is refused."""
    paths = {
        "/boxes/{id}": listing(),
        "/box": listing(schema=RECORD),
        "/box-with-parts": listing(schema={"properties": {"id": {"type": "string"}, "parts": {"items": RECORD}}}),
        "/numbers": listing(schema={"type": "array", "items": {"type": "integer"}}),
        "/post": {"post": listing()["get"]},
        "/page": answering({"text/html": {}}),
        "/boxes": listing(),
    }
    assert [endpoint.path for endpoint in read(paths)] == ["/boxes"]
    del paths["/boxes"]
    with pytest.raises(UsageError, match="no list endpoint"):
        described(paths)


NAMES = st.sampled_from(["page", "size", "limit", "offset", "cursor", "from", "state", "pageRef", "tenant", "sort"])


PARAMETERS = st.lists(
    st.builds(
        lambda name, required, kind: query(name, type=kind) | {"required": required},
        NAMES,
        st.booleans(),
        st.sampled_from(["integer", "string", "boolean"]),
    ),
    max_size=4,
    unique_by=lambda one: str(one["name"]),
)


ITEMS = st.sampled_from([RECORD, {}, {"type": "object"}, {"properties": {"size": {}}}, {"type": "string"}])


LISTS = ITEMS.flatmap(
    lambda item: st.sampled_from(
        [
            array(item),
            {"type": "object", "properties": {"data": array(item)}},
            {"properties": {"page": {"properties": {"number": {}}}, "items": array(item), "next": {"type": "string"}}},
            {"allOf": [{"properties": {"results": array(item)}}]},
            {"oneOf": [array(item), {"type": "null"}]},
        ]
    )
)


FORMS = st.lists(st.sampled_from(["application/json", "text/csv", "application/xml"]), min_size=1, unique=True)


PATHS = st.sampled_from(["/boxes", "/v1/boxes", "/v2/boxes", "/api/v3/lids", "/boxes/{id}/lids", "/lids.csv", "/a/b/c"])


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(PATHS, st.tuples(LISTS, FORMS, PARAMETERS), min_size=1, max_size=5))
def test_every_list_is_described_or_left_out(offered: Any) -> None:
    paths = {
        path: answering({media: {"schema": schema} for media in forms}, *parameters)
        for path, (schema, forms, parameters) in offered.items()
    }
    # One list that can always be described, so that the others are named beside it.
    found = described(paths | {"/last": listing(*PAGED)})
    versions = [read_description(found.document, version) for version in found.document["versions"]]
    listed = [{endpoint.path for endpoint in service} | dict(service.left_out).keys() for service in versions]
    assert set().union(*listed) == {*paths, "/last"}
    # The newest version has all of them, but where one has taken the place of an older one.
    assert {parse_path(path).resource for path in listed[-1]} == {
        parse_path(path).resource for path in [*paths, "/last"]
    }
