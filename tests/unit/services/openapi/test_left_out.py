"""Everything a spec offers is described, or named with the reason why it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import UsageError
from bulk_export.services.catalogue import choose_endpoints, read_description
from bulk_export.services.openapi import describe
from bulk_export.services.openapi.naming import parse_path
from tests.support.specs import RECORD, answering, described, listing, only, query, read, spec, table

PAGED = [query("page", minimum=1), query("size")]


def array(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item}


def test_a_version_has_the_paths_without_one_and_what_only_an_older_one_offers() -> None:
    paths = {f"/things/{number}": listing(*PAGED) for number in range(36)}
    paths |= {"/v1/boxes": listing(*PAGED), "/v1/lids": listing(*PAGED), "/v2/boxes": listing(*PAGED)}
    service = read(paths)
    assert (service.version, len(service.endpoints), service.left_out) == ("v2", 38, ())
    found = {endpoint.name: endpoint.path for endpoint in service}
    assert (found["boxes"], found["lids"], found["things-7"]) == ("/v2/boxes", "/v1/lids", "/things/7")
    older = {endpoint.path for endpoint in read(paths, "v1")}
    assert older == set(paths) - {"/v2/boxes"}


def test_lists_of_the_same_name_in_different_places_are_different_lists() -> None:
    paths = {f"/{area}/v{number}/objects": listing(*PAGED) for number, area in ((3, "crm"), (4, "cms"))}
    service = read(paths)
    assert {endpoint.path for endpoint in service} == set(paths)
    assert len({endpoint.name for endpoint in service}) == 2


@pytest.mark.parametrize(
    ("path", "item", "reason"),
    [
        ("/boxes/{id}/lids", listing(*PAGED), "its path needs id"),
        ("/search", {"post": listing()["get"]}, "it is requested by POST"),
        ("/numbers", listing(schema=array({"type": "integer"})), "its list does not contain objects"),
        (
            "/both",
            listing(schema={"properties": {"red": array(RECORD), "blue": array(RECORD)}}),
            "it has several lists (red, blue), and which has the records is not said",
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
def test_a_list_that_cannot_be_described_is_named_with_the_reason(path: str, item: Any, reason: str) -> None:
    found = described({path: item, "/boxes": listing(*PAGED)})
    assert found.document["left_out"] == {"v1": {path: reason}}
    assert read_description(found.document, None).left_out == ((path, reason),)
    assert found.left_out == (f"{path} is left out: {reason}",)
    with pytest.raises(UsageError, match="no list endpoint") as refused:
        described({path: item})
    assert reason in refused.value.next_step


@pytest.mark.parametrize("name", ["boxes-lids", "lids", "/boxes/{id}/lids"])
def test_who_names_what_is_left_out_is_told_why(name: str) -> None:
    service = read({"/boxes": listing(*PAGED), "/boxes/{id}/lids": listing(*PAGED)})
    with pytest.raises(UsageError) as refused:
        choose_endpoints(service, [name])
    assert refused.value.next_step == "/boxes/{id}/lids is left out: its path needs id. It has: boxes."


def test_what_is_no_list_is_not_named() -> None:
    paths = {
        "/boxes": listing(*PAGED),
        "/boxes/{id}": listing(schema=RECORD),
        "/health": listing(schema={"properties": {"status": {"type": "string"}}}),
        "/picture": answering({"image/png": {}}),
        "/counts": listing(schema={"type": "object", "additionalProperties": {"type": "integer"}}),
        "/boxes/{id}/picture": answering({"application/json": {}}),
    }
    assert "left_out" not in described(paths).document


def test_an_older_list_that_cannot_be_described_is_not_named_where_a_newer_one_takes_its_place() -> None:
    cursor = listing(query("cursor"), query("limit"))
    paths = {"/v1/boxes": cursor, "/v1/lids": listing(*PAGED), "/v2/boxes": listing(*PAGED)}
    assert read(paths).left_out == ()
    assert [path for path, _ in read(paths, "v1").left_out] == ["/v1/boxes"]
    # Of a version that has nothing else, it is named wherever it is.
    del paths["/v1/lids"]
    assert [path for path, _ in read(paths).left_out] == ["/v1/boxes"]


IDENTIFIED = [
    ({"uuid": {"type": "string"}}, [], ("uuid",)),
    ({"_id": {"type": "string"}}, [], ("_id",)),
    ({"id": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}, [], ("id",)),
    ({"box_id": {"type": "integer"}}, ["box_id"], ("box_id",)),
    ({"boxId": {"type": "string"}}, ["boxId"], ("boxId",)),
    ({"reference": {"type": "string", "description": "The unique reference"}}, ["reference"], ("reference",)),
    # It may be missing, be another thing's, or stand on several records.
    ({"box_id": {"type": "integer"}}, [], ()),
    ({"owner_id": {"type": "string", "description": "The unique id of the owner"}}, ["owner_id"], ()),
    ({"reference": {"type": "string", "description": "The reference"}}, ["reference"], ()),
    ({"size": {"type": "integer"}}, ["size"], ()),
]


@pytest.mark.parametrize(("members", "required", "path"), IDENTIFIED, ids=str)
def test_ids_by_other_names_are_taken_only_where_they_are_surely_one(
    members: Any, required: list[str], path: tuple[str, ...]
) -> None:
    record = {"type": "object", "properties": members, "required": required}
    assert only({"/boxes": listing(*PAGED, schema=array(record))}).shape.id == path


def test_an_id_among_the_attributes_is_found() -> None:
    inside = {"type": "object", "properties": {"id": {"type": "integer"}, "size": {"type": "integer"}}}
    shape = only({"/boxes": listing(schema=array({"properties": {"attributes": inside}}))}).shape
    assert (shape.id, shape.id_type.value, shape.attributes) == (("attributes", "id"), "integer", ("attributes",))


CELLS: dict[str, Any] = {"id": {"type": "string"}, "size": {"type": "integer"}}
ROW = {"type": "object", "properties": CELLS | {"tags": array(RECORD)}}


@pytest.mark.parametrize(
    ("schema", "media"),
    [
        (array(ROW), {}),
        ({"properties": {"data": array(ROW)}}, {}),
        ({"type": "string", "properties": {"data": array(ROW)}, "required": ["data"]}, {}),
        ({"type": "string", "items": ROW}, {}),
        ({"type": "object", "properties": CELLS}, {}),
        ({"type": "string", "example": "id,size\n1,2\n"}, {}),
        ({"type": "string"}, {"example": "id,size\n1,2\n"}),
        (None, {"examples": {"one": {"value": "id,size\r\n1,2\r\n"}}}),
    ],
    ids=str,
)
def test_tables_are_described_however_they_are_declared(schema: Any, media: dict[str, Any]) -> None:
    endpoint = only({"/boxes.csv": table(schema, **media)})
    assert (endpoint.name, endpoint.format, endpoint.shape.id, endpoint.shape.at) == ("boxes", "csv", ("id",), ())
    assert [field.name for field in endpoint.fields if field.name != "tags"] == ["size"]
    assert all(isinstance(field.type.value, str) for field in endpoint.fields)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "schema", [None, {"type": "string"}, {"type": "string", "format": "binary"}, {"type": "array"}]
)
def test_a_table_of_which_nothing_is_said_is_exported_all_the_same(schema: Any) -> None:
    paths = {"/boxes.csv": table(schema), "/lids": listing(*PAGED)}
    endpoint = read(paths).endpoints[0]
    assert (endpoint.name, endpoint.format, endpoint.fields, endpoint.shape.id) == ("boxes", "csv", (), ("id",))
    silent = {"get": {"responses": {"200": {"description": "ok"}}}}
    assert read({"/boxes.csv": silent}).endpoints[0].format == "csv"
    assert any("does not say what its records contain" in remark for remark in described(paths).remarks)


def test_a_path_that_answers_in_both_forms_is_one_list_as_json_where_that_is_one() -> None:
    both = {"text/csv": {"schema": array(ROW)}, "application/json": {"schema": array(ROW)}}
    assert only({"/boxes": answering(both)}).format == "json"
    both["application/json"] = {"schema": RECORD}
    assert only({"/boxes": answering(both)}).format == "csv"


def test_other_lists_in_an_answer_are_spoken_of() -> None:
    schema = {"properties": {"data": array(RECORD), "included": array(RECORD)}}
    assert any("left out: included" in remark for remark in described({"/boxes": listing(schema=schema)}).remarks)


def test_what_is_read_back_from_a_file_of_windows_is_the_same(tmp_path: Path) -> None:
    from bulk_export.services.catalogue import load_service

    document = spec({"/boxes": listing(*PAGED)})
    text = json.dumps(document, indent=1).replace("\n", "\r\n")
    path = tmp_path / "spec.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be"):
        mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
        path.write_bytes(mark + text.encode(encoding))
        assert load_service(str(path)) == read_description(describe(document, "x").document, None)
    description = tmp_path / "boxes.toml"
    toml = 'name = "boxes"\r\n[versions.v1.boxes]\r\npath = "/boxes"\r\n'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        description.write_bytes(toml.encode(encoding))
        assert [endpoint.path for endpoint in load_service(str(description))] == ["/boxes"]


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
def test_every_list_is_described_or_named_whatever_it_looks_like(offered: Any) -> None:
    paths = {
        path: answering({media: {"schema": schema} for media in forms}, *parameters)
        for path, (schema, forms, parameters) in offered.items()
    }
    # One list that can always be described, so that the others are named beside it.
    found = described(paths | {"/last": listing(*PAGED)})
    versions = [read_description(found.document, version) for version in found.document["versions"]]
    said = [{endpoint.path for endpoint in service} | dict(service.left_out).keys() for service in versions]
    assert set().union(*said) == {*paths, "/last"}
    # The newest version has all of them, but where one has taken the place of an older one.
    assert {parse_path(path).resource for path in said[-1]} == {parse_path(path).resource for path in [*paths, "/last"]}
