"""What is found in a spec: list endpoints, how their pages are asked for, fields with types, filters, sorts."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Authorization, Endpoint, Field, Kind, ListOf, Paging, RecordShape, Service, Struct
from bulk_export.errors import UsageError
from bulk_export.services.catalogue import load_service, read_description
from bulk_export.services.openapi import (
    GeneratedDescription,
    compare,
    describe,
    openapi_document,
    openapi_yaml,
    parse_spec,
)

RECORD = {"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "integer"}}}


def listing(*parameters: dict[str, Any], schema: Any = None, media: str = "application/json") -> dict[str, Any]:
    schema = schema or {"type": "object", "properties": {"data": {"type": "array", "items": RECORD}}}
    answer = {"description": "ok", "content": {media: {"schema": schema}}}
    return {"get": {"parameters": list(parameters), "responses": {"200": answer}}}


def query(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "integer", **schema}}


def spec(paths: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "Boxes", "version": "1.0"}, "paths": paths, **more}


def described(document: dict[str, Any]) -> GeneratedDescription:
    return describe(document, "spec.yaml")


def read(document: dict[str, Any]) -> Service:
    return read_description(described(document).document, None)


def only(document: dict[str, Any]) -> Endpoint:
    (endpoint,) = read(document)
    return endpoint


def fields(schema: Any, **components: Any) -> dict[str, Any]:
    document = spec({"/things": listing(schema={"type": "array", "items": schema})}, components={"schemas": components})
    return {field.name: field.type for field in only(document).fields}


@pytest.mark.parametrize(
    ("parameters", "paging"),
    [
        ([query("page[page]"), query("page[per_page]")], Paging("pages", "page[page]", "page[per_page]", 1)),
        ([query("page[number]"), query("page[size]")], Paging("pages", "page[number]", "page[size]", 1)),
        ([query("page"), query("per_page")], Paging("pages", "page", "per_page", 1)),
        ([query("pageNumber", minimum=0), query("pageSize")], Paging("pages", "pageNumber", "pageSize", 0)),
        ([query("page", default=0, minimum=0), query("size")], Paging("pages", "page", "size", 0)),
        ([query("page", default=1, minimum=0), query("size")], Paging("pages", "page", "size", 1)),
        ([query("offset"), query("limit")], Paging("offset", "offset", "limit", 0)),
        ([query("skip"), query("take")], Paging("offset", "skip", "take", 0)),
        ([query("startIndex", minimum=1), query("count")], Paging("offset", "startIndex", "count", 1)),
        ([query("page"), query("offset"), query("limit")], Paging("pages", "page", "limit", 1)),
    ],
    ids=lambda value: value.number if isinstance(value, Paging) else "",
)
def test_page_parameters_are_known_in_the_ways_they_are_written(parameters: list[Any], paging: Paging) -> None:
    found = only(spec({"/boxes": listing(*parameters)})).paging
    assert (found.style, found.number, found.size, found.first) == (
        paging.style,
        paging.number,
        paging.size,
        paging.first,
    )


def test_page_parameters_may_be_members_of_one_object() -> None:
    size = {"type": "integer", "description": "Defaults to 50. Maximum is 200."}
    members = {"page": {"type": "integer"}, "per_page": size}
    page = {"name": "page", "in": "query", "style": "deepObject", "schema": {"type": "object", "properties": members}}
    service = read(spec({"/boxes": listing(page)}))
    assert (service.endpoints[0].paging.number, service.endpoints[0].paging.size) == ("page[page]", "page[per_page]")
    assert (service.default_page_size, service.largest_page_size) == (50, 200)
    exploded = page | {"name": "pagination", "style": "form"}
    assert only(spec({"/boxes": listing(exploded)})).paging.number == "page"


def test_page_sizes_are_taken_from_the_schema() -> None:
    service = read(spec({"/boxes": listing(query("page"), query("per_page", default=25, maximum=500))}))
    assert (service.default_page_size, service.largest_page_size) == (25, 500)
    assert read(spec({"/boxes": listing(query("page"), query("per_page"))})).largest_page_size is None


def test_pages_by_cursor_are_left_out_and_said_so() -> None:
    paths = {"/boxes": listing(query("cursor"), query("limit")), "/lids": listing(query("page"), query("size"))}
    found = described(spec(paths))
    assert [endpoint.name for endpoint in read(spec(paths))] == ["lids"]
    assert found.document["left_out"] == {
        "v1": {"/boxes": "paging by cursor is not supported, only by page number or offset"}
    }


def test_a_list_without_page_parameters_is_one_request_and_said_so() -> None:
    document = spec({"/boxes": listing()})
    assert only(document).paging.style == "none"
    assert any("one request must return everything" in remark for remark in described(document).remarks)


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        ({"type": "array", "items": RECORD}, ()),
        ({"properties": {"items": {"type": "array", "items": RECORD}, "errors": {"items": RECORD}}}, ("items",)),
        ({"properties": {"boxes": {"type": "array", "items": RECORD}, "total": {"type": "integer"}}}, ("boxes",)),
        ({"properties": {"response": {"properties": {"results": {"items": RECORD}}}}}, ("response", "results")),
        ({"allOf": [{"properties": {"meta": {}}}, {"properties": {"data": {"items": RECORD}}}]}, ("data",)),
    ],
)
def test_the_list_of_records_is_found_where_it_stands(schema: Any, at: tuple[str, ...]) -> None:
    endpoint = only(spec({"/boxes": listing(schema=schema)}))
    assert (endpoint.shape.at, endpoint.shape.attributes) == (at, ())
    assert endpoint.fields == (Field("size", Kind.INTEGER),)


def test_what_is_no_list_is_not_an_endpoint() -> None:
    paths = {
        "/boxes/{id}": listing(),
        "/box": listing(schema=RECORD),
        "/box-with-parts": listing(schema={"properties": {"id": {"type": "string"}, "parts": {"items": RECORD}}}),
        "/numbers": listing(schema={"type": "array", "items": {"type": "integer"}}),
        "/post": {"post": listing()["get"]},
        "/page": listing(media="text/html"),
        "/boxes": listing(),
    }
    assert [endpoint.path for endpoint in read(spec(paths))] == ["/boxes"]
    del paths["/boxes"]
    with pytest.raises(UsageError, match="no list endpoint"):
        described(spec(paths))


def test_records_without_an_id_have_none_unless_it_is_known_what_identifies_them() -> None:
    bare = {"type": "array", "items": {"properties": {"code": {"type": "string"}}}}
    document = spec({"/codes": listing(schema=bare)})
    assert only(document).shape.id == ()
    assert any("nothing identifies its records" in remark for remark in described(document).remarks)
    known = describe(document, "spec", identifiers={"/codes": "code"})
    assert read_description(known.document, None).endpoints[0].shape.id == ("code",)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, Kind.STRING),
        ({"type": ["string", "null"]}, Kind.STRING),
        ({"type": "string", "nullable": True, "format": "date-time"}, Kind.TIMESTAMP),
        ({"type": "string", "format": "date"}, Kind.DATE),
        ({"type": "string", "format": "uuid"}, Kind.STRING),
        ({"type": ["integer", "number"]}, Kind.NUMBER),
        ({"enum": ["a", "b", None]}, Kind.STRING),
        ({"const": 3}, Kind.INTEGER),
        ({"enum": [True, False]}, Kind.BOOLEAN),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, Kind.INTEGER),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, Kind.STRING),
        ({"anyOf": [{"format": "date", "type": "string"}, {"format": "date-time", "type": "string"}]}, Kind.TIMESTAMP),
        ({"$ref": "#/components/schemas/Day", "description": "a day"}, Kind.DATE),
        ({"allOf": [{"$ref": "#/components/schemas/Day"}], "nullable": True}, Kind.DATE),
        ({"allOf": [{"type": "string"}, {"type": "string", "format": "date"}]}, Kind.DATE),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Day"}}, ListOf(Kind.DATE)),
        ({"items": {"type": "array", "items": {"type": "number"}}}, ListOf(ListOf(Kind.NUMBER))),
        ({"properties": {"a": {"type": "boolean"}}}, Struct((Field("a", Kind.BOOLEAN),))),
        (
            {"oneOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]},
            Struct((Field("a", Kind.STRING), Field("b", Kind.STRING))),
        ),
        ({"type": "object", "additionalProperties": {"type": "string"}}, Struct(())),
        ({"type": "array"}, ListOf(Kind.ANY)),
    ],
)
def test_types_are_found_through_whatever_declares_them(schema: Any, kind: Any) -> None:
    record = {"properties": {"id": {"type": "string"}, "it": schema}}
    assert fields(record, Day={"type": "string", "format": "date"}) == {"it": kind}


@pytest.mark.parametrize("schema", [{}, True, {"type": ["string", "integer"]}, {"oneOf": [{"type": "string"}, RECORD]}])
def test_what_no_column_holds_may_be_anything(schema: Any) -> None:
    assert fields({"properties": {"id": {"type": "string"}, "it": schema, "ok": {"type": "string"}}}) == {
        "it": Kind.ANY,
        "ok": Kind.STRING,
    }


def test_a_type_that_holds_itself_ends_where_it_begins_again() -> None:
    below = {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    tree = {"properties": {"id": {"type": "string"}, "below": below}}
    document = spec(
        {"/trees": listing(schema={"type": "array", "items": {"$ref": "#/components/schemas/Tree"}})},
        components={"schemas": {"Tree": tree}},
    )
    assert only(document).fields == (Field("below", ListOf(Kind.ANY)),)
    assert any("contains itself" in remark for remark in described(document).remarks)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("other.yaml#/Box", "outside the file"),
        ("https://example.org/box.json", "outside the file"),
        ("#/components/schemas/Nothing", "does not exist"),
        ("#nowhere", "does not exist"),
        ("#/paths/~1boxes/get/parameters/first", "does not exist"),
    ],
)
def test_references_that_lead_out_or_nowhere_are_refused_with_their_name(reference: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        described(spec({"/boxes": listing(schema={"$ref": reference})}))
    assert repr(reference) in refused.value.what


def test_references_in_a_circle_and_growth_without_end_are_refused_or_cut() -> None:
    circle = {"A": {"$ref": "#/components/schemas/B"}, "B": {"$ref": "#/components/schemas/A"}}
    with pytest.raises(UsageError, match="no list endpoint"):
        described(spec({"/a": listing(schema={"$ref": "#/components/schemas/A"})}, components={"schemas": circle}))
    doubling: dict[str, Any] = {"S0": {"type": "string"}}
    for level in range(1, 30):
        inner = {"$ref": f"#/components/schemas/S{level - 1}"}
        doubling[f"S{level}"] = {"type": "object", "properties": {"a": inner, "b": inner}}
    with pytest.raises(UsageError, match="too large when its references are followed"):
        described(
            spec(
                {"/a": listing(schema={"items": {"$ref": "#/components/schemas/S29"}})},
                components={"schemas": doubling},
            )
        )


def test_filters_are_found_flat_and_in_objects_with_what_they_take() -> None:
    members = {
        "cohort": {"type": "string", "example": "2021,2022"},
        "participant_id": {"type": "string", "format": "uuid"},
        "updated_since": {"type": "string"},
        "state": {"type": "string"},
    }
    deep = {"name": "filter", "in": "query", "style": "deepObject", "schema": {"properties": members}}
    flat = [{"name": f"filter[{name}]", "in": "query", "schema": schema} for name, schema in members.items()]
    plain = [{"name": name, "in": "query", "schema": schema} for name, schema in members.items()]
    for parameters, template in (([deep], "filter[{name}]"), (flat, "filter[{name}]"), (plain, "{name}")):
        endpoint = only(spec({"/boxes": listing(*parameters, query("page"), query("size"))}))
        assert endpoint.paging.filter == template
        assert endpoint.since == "updated_since"
        assert dict(endpoint.filter_types) == {
            "cohort": "years",
            "participant_id": "uuids",
            "updated_since": "timestamp",
            "state": "string",
        }


def test_keywords_that_are_not_what_they_should_be_say_nothing() -> None:
    odd = query("filter[state]", type="string", format={"a": 1}, enum={"b": 2}, example=[3], description=4)
    assert dict(only(spec({"/boxes": listing(odd)})).filter_types) == {"state": "string"}


def test_required_filters_are_told() -> None:
    parameter = query("filter[cohort]", type="string") | {"required": True}
    assert only(spec({"/boxes": listing(parameter)})).requires == ("cohort",)


def test_sorts_are_found_and_the_one_that_leaves_no_ties_is_sent() -> None:
    sort = query("sort", type="string", enum=["name", "-name", "id"])
    endpoint = only(spec({"/boxes": listing(sort)}))
    assert (endpoint.sorts, endpoint.sort, endpoint.order_is_total) == (("name", "-name", "id"), "id", True)
    listed = query("orderBy", type="array", items={"enum": ["created_at", "-created_at"]})
    endpoint = only(spec({"/boxes": listing(listed)}))
    assert (endpoint.paging.sort, endpoint.sort, endpoint.order_is_total) == ("orderBy", "created_at", False)


@pytest.mark.parametrize(
    ("scheme", "auth"),
    [
        ({"type": "http", "scheme": "bearer"}, Authorization("Authorization", "Bearer")),
        ({"type": "http", "scheme": "Bearer"}, Authorization("Authorization", "Bearer")),
        ({"type": "oauth2", "flows": {}}, Authorization("Authorization", "Bearer")),
        ({"type": "apiKey", "in": "header", "name": "X-Api-Key"}, Authorization("X-Api-Key", "")),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Bearer token"},
            Authorization("Authorization", "Bearer"),
        ),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": 'with prefix "Token"'},
            Authorization("Authorization", "Token"),
        ),
        ({"type": "http", "scheme": "Token"}, Authorization("Authorization", "Token")),
        (
            {"type": "http", "scheme": "token", "description": 'Write `Token token="abc"`'},
            Authorization("Authorization", 'Token token="{token}"'),
        ),
        (
            {"type": "apiKey", "in": "header", "name": "Authorization", "description": "Token token=abc"},
            Authorization("Authorization", "Token token={token}"),
        ),
        ({"type": "http", "scheme": "basic"}, Authorization("Authorization", "Bearer")),
    ],
)
def test_the_header_of_the_token_is_found(scheme: dict[str, Any], auth: Authorization) -> None:
    assert read(spec({"/boxes": listing()}, components={"securitySchemes": {"it": scheme}})).auth == auth


def test_servers_are_environments_and_a_relative_one_is_a_prefix() -> None:
    document = spec({"/boxes": listing()}, servers=[{"url": "https://a.example/v2/", "description": "Test one"}])
    assert read(document).environments == (("test-one", "https://a.example/v2"),)
    document["servers"] = [{"url": "/api/v2"}]
    assert only(document).path == "/api/v2/boxes"
    fetched = describe(document, "spec", address="https://b.example/docs/spec.yaml")
    assert read_description(fetched.document, None).environments == (("b-example", "https://b.example/api/v2"),)
    nowhere = ["http://0.0.0.0:3000", "https://{tenant}.example", "http://[::1"]
    document["servers"] = [*({"url": url} for url in nowhere), 3]
    assert read(document).environments == ()


def test_the_scheme_in_use_is_taken_before_others() -> None:
    schemes = {"old": {"type": "http", "scheme": "bearer"}, "new": {"type": "apiKey", "in": "header", "name": "X-Key"}}
    document = spec({"/boxes": listing()}, components={"securitySchemes": schemes}, security=[{"new": []}])
    assert read(document).auth == Authorization("X-Key", "")


def test_the_variables_of_servers_are_filled_in() -> None:
    variables = {"host": {"default": "live", "enum": ["live", "trial"]}, "base": {"default": "v2"}}
    document = spec({"/boxes": listing()}, servers=[{"url": "https://{host}.example/{base}", "variables": variables}])
    assert read(document).environments == (
        ("live-example", "https://live.example/v2"),
        ("trial-example", "https://trial.example/v2"),
    )
    named = {"url": "https://{host}.example", "description": "Main", "variables": variables}
    document["servers"] = [named, {"url": "https://{unknown}.example"}]
    assert dict(read(document).environments) == {
        "main": "https://live.example",
        "main-trial-example": "https://trial.example",
    }
    assert any("the values of unknown are not known" in remark for remark in described(document).remarks)


def test_kinds_and_words_of_filters_are_found() -> None:
    parameters = [
        query("open", type="boolean"),
        query("size"),
        query("made", type="string", format="date"),
        query("state", type="string", enum=["new", "old"]),
        query("colours", type="array", items={"type": "string", "enum": ["red"]}),
        query("open_ended", anyOf=[{"type": "string", "enum": ["a"]}, {"type": "string"}], type="string"),
    ]
    endpoint = only(spec({"/boxes": listing(query("page"), query("per_page"), *parameters)}))
    assert dict(endpoint.filter_types) == {
        "open": "boolean",
        "size": "integer",
        "made": "date",
        "state": "string",
        "colours": "strings",
        "open_ended": "string",
    }
    assert dict(endpoint.filter_values) == {"state": ("new", "old"), "colours": ("red",)}


def test_names_and_versions_come_from_the_paths() -> None:
    paths = {f"/api/v{number}/the/Boxes": listing() for number in (1, 2, 10)} | {"/api/v1/boxes.csv": listing()}
    document = described(spec(paths)).document
    assert document["default_version"] == "v10"
    assert list(document["versions"]) == ["v1", "v2", "v10"]
    assert list(document["versions"]["v1"]) == ["the-boxes", "boxes-csv"]


def test_rows_of_text_are_found_and_named_beside_the_endpoint_that_gives_the_same_as_json() -> None:
    rows = {"properties": {"example": {"type": "array", "items": RECORD}}}
    paths = {
        "/api/v1/boxes": listing(),
        "/api/v1/boxes.csv": listing(schema=rows, media="text/csv"),
        "/api/v1/lids.csv": listing(schema=rows, media="text/csv; charset=utf-8"),
    }
    service = read(spec(paths))
    assert [(endpoint.name, endpoint.format) for endpoint in service] == [
        ("boxes", "json"),
        ("boxes-csv", "csv"),
        ("lids", "csv"),
    ]


NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True).filter(lambda name: name not in ("id", "type", "attributes"))
KINDS = st.recursive(
    st.sampled_from(Kind),
    lambda inner: st.one_of(
        inner.map(ListOf),
        st.dictionaries(NAMES, inner, min_size=1, max_size=3).map(
            lambda members: Struct(tuple(Field(name, kind) for name, kind in members.items()))
        ),
    ),
    max_leaves=5,
)
SHAPES = st.sampled_from(
    [RecordShape(), RecordShape(at=("items",), type=None, attributes=()), RecordShape((), ("id",), ("type",), ())]
)
STYLES = st.sampled_from(
    [Paging(), Paging("pages", "page", "size", 0, "{name}", "order"), Paging("offset", "offset", "limit", 0, "{name}")]
)
FILTERS = {"updated_since": "timestamp", "cohort": "years", "participant_id": "uuids", "state": "string"}


@st.composite
def services(draw: st.DrawFn) -> Service:
    largest = draw(st.one_of(st.none(), st.integers(100, 5_000)))
    paging, shape = replace(draw(STYLES), largest=largest), draw(SHAPES)
    endpoints = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)):
        filters = draw(st.lists(st.sampled_from(list(FILTERS)), unique=True))
        kinds = draw(st.dictionaries(NAMES, KINDS, min_size=1, max_size=5))
        endpoints.append(
            Endpoint(
                name=name,
                path=f"/api/v1/{name}",
                record_type=draw(NAMES),
                fields=tuple(Field(field, kind) for field, kind in kinds.items()),
                filters=tuple(filters),
                since=None,
                sort=None,
                order=(),
                order_is_total=False,
                paging=paging,
                shape=shape,
                sorts=tuple(draw(st.lists(NAMES, unique=True, max_size=3))),
                filter_types=tuple((one, FILTERS[one]) for one in filters),
            )
        )
    return Service("boxes", "v1", "Boxes", tuple(endpoints), (), None, None, 100, largest)


@settings(deadline=None, max_examples=50)
@given(services())
def test_what_a_service_publishes_describes_that_service(service: Service) -> None:
    found = described(dict(parse_spec(openapi_yaml(service), "spec")))
    back = read_description(tomllib.loads(tomli_w.dumps(found.document)), None)
    assert back == read_description(found.document, None)
    assert compare(service, back) == []
    assert (back.largest_page_size, back.default_page_size) == (service.largest_page_size, 100)
    for ours, theirs in zip(service, back, strict=True):
        assert (theirs.shape.at, theirs.shape.attributes) == (ours.shape.at, ours.shape.attributes)
        assert (theirs.paging.number, theirs.paging.size, theirs.paging.first) == (
            ours.paging.number,
            ours.paging.size,
            ours.paging.first,
        )


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from nodes(inner)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SCRAPS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
SCHEMAS = st.one_of(
    SCRAPS,
    st.sampled_from([{"$ref": "#/paths"}, {"$ref": "#"}, {"$ref": "#/info/title"}, {"type": 3}, {"allOf": [3, None]}]),
)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([("npq", "v3"), ("ecf", "v3"), ("npq", "v2")]), st.randoms(use_true_random=False), SCHEMAS)
def test_a_damaged_spec_ends_in_a_description_or_a_refusal(name: tuple[str, str], random: Any, scrap: Any) -> None:
    damaged = copy.deepcopy(openapi_document(load_service(*name)))
    for holder, key in random.sample(list(nodes(damaged)), 3):
        if holder is not damaged or key != "openapi":
            holder[key] = scrap
    try:
        found = describe(damaged, "spec")
    except UsageError:
        return
    back = read_description(tomllib.loads(tomli_w.dumps(found.document)), None)
    assert back == read_description(found.document, None)
