"""The filters and sorts of an operation."""

from __future__ import annotations

from tests.support.specs import listing, only, query


def test_filters_flat_and_in_objects() -> None:
    """Filters are found with their types, however they are declared."""
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
        endpoint = only({"/boxes": listing(*parameters, query("page"), query("size"))})
        assert endpoint.paging.filter == template
        assert endpoint.since == "updated_since"
        assert dict(endpoint.filter_types) == {
            "cohort": "years",
            "participant_id": "uuids",
            "updated_since": "timestamp",
            "state": "string",
        }


def test_malformed_keywords_are_ignored() -> None:
    odd = query("filter[state]", type="string", format={"a": 1}, enum={"b": 2}, example=[3], description=4)
    assert dict(only({"/boxes": listing(odd)}).filter_types) == {"state": "string"}


def test_required_filters() -> None:
    """A required parameter becomes a required filter."""
    parameter = query("filter[cohort]", type="string") | {"required": True}
    assert only({"/boxes": listing(parameter)}).requires == ("cohort",)


def test_sorts_and_the_total_one() -> None:
    """The sorts are found, and one that leaves no ties is sent."""
    sort = query("sort", type="string", enum=["name", "-name", "id"])
    endpoint = only({"/boxes": listing(sort)})
    assert (endpoint.sorts, endpoint.sort, endpoint.order_is_total) == (("name", "-name", "id"), "id", True)
    listed = query("orderBy", type="array", items={"enum": ["created_at", "-created_at"]})
    endpoint = only({"/boxes": listing(listed)})
    assert (endpoint.paging.sort, endpoint.sort, endpoint.order_is_total) == ("orderBy", "created_at", False)


def test_filter_types_and_values() -> None:
    """Filters have the types and accepted values of their schemas."""
    parameters = [
        query("open", type="boolean"),
        query("size"),
        query("made", type="string", format="date"),
        query("state", type="string", enum=["new", "old"]),
        query("colours", type="array", items={"type": "string", "enum": ["red"]}),
        query("open_ended", anyOf=[{"type": "string", "enum": ["a"]}, {"type": "string"}], type="string"),
    ]
    endpoint = only({"/boxes": listing(query("page"), query("per_page"), *parameters)})
    assert dict(endpoint.filter_types) == {
        "open": "boolean",
        "size": "integer",
        "made": "date",
        "state": "string",
        "colours": "strings",
        "open_ended": "string",
    }
    assert dict(endpoint.filter_values) == {"state": ("new", "old"), "colours": ("red",)}
