"""The query of a request to the local service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.core.model import Paging
from bulk_export.services.catalogue import load_service
from bulk_export.services.local.query import BadQuery, parse_query

NPQ = load_service("npq")
APPLICATIONS = NPQ.endpoints[0]


def test_defaults_are_the_first_page() -> None:
    """A query without parameters selects the first page of the default size."""
    query = parse_query(NPQ, APPLICATIONS, [], 3000)
    assert (query.first, query.page_size, query.sort, query.since, query.filters) == (0, 100, (), None, ())


@pytest.mark.parametrize(
    ("paging", "parameters", "first", "page_size"),
    [
        (Paging(), [("page[page]", "3"), ("page[per_page]", "20")], 40, 20),
        (Paging(), [("page[page]", "2"), ("page[per_page]", "9999")], 3000, 3000),
        (Paging(number="page", first=0), [("page", "2")], 200, 100),
        (Paging("offset", "offset", "limit", 0), [("offset", "7"), ("limit", "5")], 7, 5),
    ],
)
def test_pages_and_offsets(paging: Paging, parameters: list[tuple[str, str]], first: int, page_size: int) -> None:
    """Page numbers and offsets select by the endpoint's numbering, at most the largest page."""
    query = parse_query(NPQ, replace(APPLICATIONS, paging=paging), parameters, paging.largest)
    assert (query.first, query.page_size) == (first, page_size)


def test_without_paging_everything_is_selected() -> None:
    query = parse_query(NPQ, replace(APPLICATIONS, paging=Paging("none")), [("page[page]", "3")], None)
    assert (query.first, query.page_size > 10**12) == (0, True)


def test_sorts_and_filters() -> None:
    """Sorts, filters and the time of change are parsed from their parameters."""
    parameters = [
        ("sort", "-created_at,id"),
        ("filter[cohort]", "2021,2022"),
        ("filter[updated_since]", "2025-01-01T00:00:00Z"),
    ]
    query = parse_query(NPQ, APPLICATIONS, parameters, 3000)
    assert query.sort == (("created_at", True), ("id", False))
    assert (query.since, query.filters) == (1735689600.0, (("cohort", "2021,2022"),))


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("page[page]", "0", 400),
        ("page[per_page]", "x", 400),
        ("filter[colour]", "red", 400),
        ("filter[updated_since]", "yesterday", 400),
        ("filter[updated_since]", "2025-01-01T00:00:00%2B00:00", 400),
        ("filter[cohort]", "21", 422),
        ("filter[participant_id]", "1234", 422),
    ],
)
def test_bad_queries_have_the_status_of_the_service(name: str, value: str, status: int) -> None:
    """A plus sign in a time is decoded twice, and so becomes a space."""
    with pytest.raises(BadQuery) as refused:
        parse_query(NPQ, APPLICATIONS, [(name, value.replace("%2B", "+"))], 3000)
    assert refused.value.status == status
