"""The paging parameters of an operation, and from which number pages are counted."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w

from bulk_export.core.model import Paging
from bulk_export.extract.page_numbering import page_target
from bulk_export.services.catalogue import read_description
from tests.support.specs import BOXES, RECORD, described, listing, only, query, read

SIZE = query("size")


def paging(*parameters: dict[str, Any], schema: Any = BOXES) -> Paging:
    return only({"/boxes": listing(*parameters, schema=schema)}).paging


def first(*parameters: dict[str, Any], schema: Any = BOXES) -> int | None:
    found = paging(*parameters, schema=schema)
    return found.first if found.first_is_known else None


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
def test_usual_names_are_found(parameters: list[Any], paging: Paging) -> None:
    found = only({"/boxes": listing(*parameters)}).paging
    assert (found.style, found.number, found.size, found.first) == (
        paging.style,
        paging.number,
        paging.size,
        paging.first,
    )


@pytest.mark.parametrize(
    ("number", "size"),
    [("pagenumber", "pagesize"), ("PageNumber", "PageSize"), ("page_no", "per-page"), ("_page", "_limit")],
)
def test_names_are_found_however_words_are_joined(number: str, size: str) -> None:
    found = paging(query(number), query(size))
    assert (found.style, found.number, found.size) == ("pages", number, size)


def test_members_of_an_object_are_found() -> None:
    """The paging parameters may be members of one object, sent in brackets or by their own names."""
    size = {"type": "integer", "description": "Defaults to 50. Maximum is 200."}
    members = {"page": {"type": "integer"}, "per_page": size}
    page = {"name": "page", "in": "query", "style": "deepObject", "schema": {"type": "object", "properties": members}}
    service = read({"/boxes": listing(page)})
    assert (service.endpoints[0].paging.number, service.endpoints[0].paging.size) == ("page[page]", "page[per_page]")
    assert (service.default_page_size, service.largest_page_size) == (50, 200)
    exploded = page | {"name": "pagination", "style": "form"}
    assert only({"/boxes": listing(exploded)}).paging.number == "page"


def test_page_sizes_come_from_the_schema() -> None:
    service = read({"/boxes": listing(query("page"), query("per_page", default=25, maximum=500))})
    assert (service.default_page_size, service.largest_page_size) == (25, 500)
    assert read({"/boxes": listing(query("page"), query("per_page"))}).largest_page_size is None


@pytest.mark.parametrize(
    ("parameter", "number"),
    [
        (query("page", minimum=0), 0),
        (query("page", default=0), 0),
        (query("page", example=0), 0),
        (query("page", exclusiveMinimum=-1), 0),
        (query("page", "Zero-based page index (0..N)"), 0),
        (query("page", "The page to return, 0-indexed."), 0),
        (query("page", "Page numbers start at 0"), 0),
        (query("page", "Page, counting from zero."), 0),
        (query("page", "The first page is 0."), 0),
        (query("page", "Defaults to 0."), 0),
        (query("page", minimum=1), 1),
        (query("page", default=1), 1),
        (query("page", example=1), 1),
        (query("page", exclusiveMinimum=0), 1),
        (query("page", minimum=0, exclusiveMinimum=True), 1),
        (query("page", "1-based"), 1),
        (query("page", "Page number, starting at 1."), 1),
        (query("page", "Must be greater than 0"), 1),
        (query("page", "The first page has the number 1."), 1),
        # Nothing tells it, or 0 by one sign and 1 by another.
        (query("page"), None),
        (query("page", "The page to return, one of many."), None),
        (query("page", example=3), None),
        (query("page", minimum=0, default=1), None),
        (query("page", "Zero-based.", example=1), None),
    ],
    ids=lambda value: f"{value['description']} {value['schema']}" if isinstance(value, dict) else str(value),
)
def test_first_page_is_known_if_all_signs_agree(parameter: dict[str, Any], number: int | None) -> None:
    assert first(parameter, SIZE) == number


def test_spring_pages_count_from_0() -> None:
    members: dict[str, Any] = {"page": {"type": "integer"}, "size": {"type": "integer"}, "sort": {"type": "string"}}
    pageable = {"name": "pageable", "in": "query", "schema": {"type": "object", "properties": members}}
    answer = {"properties": {"content": {"type": "array", "items": RECORD}, "totalPages": {}, "totalElements": {}}}
    assert first(pageable, schema=answer) == 0
    members["page"] |= {"minimum": 0}
    assert first(pageable) == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [("Lists boxes. Pages are zero-based.", 0), ("The first page is 1.", 1), ("Pages start at 0", 0), ("1 to 9", None)],
)
def test_operation_text_tells_the_first_page(text: str, number: int | None) -> None:
    item = listing(query("page"), SIZE)
    item["get"]["description"] = text
    found = only({"/boxes": item}).paging
    assert (found.first if found.first_is_known else None) == number


def test_lead_provider_pages_count_from_1() -> None:
    assert first(query("page[page]"), query("page[per_page]")) == 1


def test_unknown_first_page_is_written_as_unknown() -> None:
    document = described({"/boxes": listing(query("page"), SIZE)}).document
    assert document["pages"]["first"] == "unknown"
    again = read_description(tomllib.loads(tomli_w.dumps(document)), None)
    assert not again.endpoints[0].paging.first_is_known
    mixed = read({"/a": listing(query("page"), SIZE), "/b": listing(query("page", minimum=1), SIZE)})
    assert [endpoint.paging.first_is_known for endpoint in mixed] == [False, True]


@pytest.mark.parametrize(
    ("start", "size", "style"),
    [
        (query("offset"), SIZE, "offset"),
        (query("page[offset]"), query("page[limit]"), "offset"),
        (query("$skip"), query("$top"), "offset"),
        (query("from", minimum=0), SIZE, "unknown"),
        (query("start"), query("limit"), "unknown"),
        (query("start", "Index of the first record"), query("limit"), "offset"),
        (query("start", "The page number"), query("limit"), "pages"),
        (query("page", "How many records to skip"), SIZE, "unknown"),
        (query("offset", "The page number"), query("limit"), "unknown"),
    ],
    ids=lambda value: f"{value['name']} {value['description']}" if isinstance(value, dict) else value,
)
def test_style_is_pages_or_offset_or_unknown(start: dict[str, Any], size: dict[str, Any], style: str) -> None:
    found = paging(start, size)
    assert (found.style if found.style_is_known else "unknown") == style


def test_page_number_without_a_size() -> None:
    """A page number without a size parameter is requested alone."""
    endpoint = only({"/boxes": listing(query("page", minimum=1))})
    assert (endpoint.paging.number, endpoint.paging.size, endpoint.paging.largest) == ("page", "", None)
    assert page_target(endpoint, 3, 300) == "/boxes?page=3"


def test_offset_without_a_size() -> None:
    """An offset without a size parameter is still paging."""
    endpoint = only({"/boxes": listing(query("offset"))})
    assert (endpoint.paging.style, endpoint.paging.number, endpoint.paging.size) == ("offset", "offset", "")


def test_first_offset_is_0_in_doubt() -> None:
    assert first(query("offset"), query("limit")) == 0
    assert first(query("offset", minimum=0, default=1), query("limit")) == 0
    assert first(query("startIndex", minimum=1), query("count")) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "example": "2024-01-31"},
        {"type": "string"},
    ],
    ids=str,
)
def test_ends_of_a_time_range_are_filters(schema: dict[str, Any]) -> None:
    span = [query("from", **schema), query("to", **schema)]
    endpoint = only({"/boxes": listing(query("page"), SIZE, *span)})
    assert (endpoint.paging.number, endpoint.filters) == ("page", ("from", "to"))
    alone = only({"/boxes": listing(*span)})
    assert (alone.paging.style, alone.filters) == ("none", ("from", "to"))


def test_times_after_and_before_are_no_cursors() -> None:
    times = [query("after", type="string", format="date-time"), query("before", "In ISO 8601", type="string")]
    assert only({"/boxes": listing(*times)}).filters == ("after", "before")


def test_largest_page_holds_for_its_endpoint_only() -> None:
    paths = {
        "/a": listing(query("page", minimum=1), query("size", maximum=100, default=50)),
        "/b": listing(query("page", minimum=1), query("size")),
        "/c": listing(query("page", minimum=1), query("size", maximum=100, default=50)),
    }
    service = read(paths)
    assert [endpoint.paging.largest for endpoint in service] == [100, None, 100]
    assert service.largest_page_size is None
    paths["/b"] = listing(query("page", minimum=1), query("size", maximum=500))
    assert [endpoint.paging.largest for endpoint in read(paths)] == [100, 500, 100]
    assert read(paths).largest_page_size == 500


def test_largest_page_below_the_default_is_ignored() -> None:
    assert paging(query("page"), query("size", maximum=10, default=50)).largest is None


def test_paging_by_cursor_is_left_out() -> None:
    """Lists that page by cursor are left out, with the reason."""
    paths = {"/boxes": listing(query("cursor"), query("limit")), "/lids": listing(query("page"), query("size"))}
    found = described(paths)
    assert [endpoint.name for endpoint in read(paths)] == ["lids"]
    assert found.document["left_out"] == {
        "v1": {"/boxes": "paging by cursor is not supported, only by page number or offset"}
    }


def test_no_page_parameters_means_one_request() -> None:
    """A remark says so."""
    paths = {"/boxes": listing()}
    assert only(paths).paging.style == "none"
    assert any("one request must return everything" in remark for remark in described(paths).remarks)
