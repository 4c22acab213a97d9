"""How pages are numbered: what a log may show of a URL, and what two responses say of the numbering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bulk_export.core.model import Paging
from bulk_export.extract.page_numbering import PageNumbering, loggable_target, page_target
from bulk_export.extract.paging_facts import PagingFacts
from tests.support.paged_list import ENDPOINT

OPEN = replace(ENDPOINT, paging=Paging("pages", "page", "size", 0, first_is_known=False, style_is_known=False))
A, B, C, D = b'{"id":"a"}', b'{"id":"b"}', b'{"id":"c"}', b'{"id":"d"}'


@pytest.mark.parametrize(
    ("lower", "upper", "first", "style", "pages"),
    [
        ([A, B], [B, A], 1, "pages", {1: "upper"}),
        (None, [A, B], 1, "pages", {1: "upper"}),
        ([], [A, B], 1, "pages", {1: "upper"}),
        ([A, B], [C, D], 0, "pages", {1: "lower", 2: "upper"}),
        ([A, B], [B, C], 0, "offset", {1: "lower"}),
        ([A, B], [], 0, "pages", {1: "lower"}),
        ([], None, 0, "pages", {1: "lower"}),
    ],
)
def test_two_responses_say_how_pages_are_numbered(
    lower: Sequence[bytes] | None, upper: Sequence[bytes] | None, first: int, style: str, pages: dict[int, str]
) -> None:
    """Number 0 brings `lower` and number 1 `upper`; None stands for an error."""
    numbering: PageNumbering[str] = PageNumbering(OPEN, PagingFacts())
    assert numbering.endpoint_to_request().paging.first == 0
    assert numbering.record_response(lower, None if lower is None else "lower") == []
    assert numbering.endpoint_to_request().paging.first == 1
    settled = numbering.record_response(upper, None if upper is None else "upper")
    if not settled:
        # After an error, number 0 is requested once more.
        assert numbering.endpoint_to_request().paging.first == 0
        settled = numbering.record_response(lower, None)
    assert dict(settled) == pages
    assert (numbering.endpoint.paging.first, numbering.endpoint.paging.style) == (first, style)
    assert numbering.learned(PagingFacts()) == PagingFacts(first=first, style=style)  # type: ignore[arg-type]


def test_a_remembered_numbering_is_not_looked_for() -> None:
    numbering: PageNumbering[str] = PageNumbering(OPEN, PagingFacts(first=1, style="offset"))
    assert not numbering.is_open
    assert (numbering.endpoint.paging.first, numbering.endpoint.paging.style) == (1, "offset")


def test_logs_show_values_of_page_number_and_size_only() -> None:
    """Values of filters and of the sort are left out, however they are encoded."""
    endpoint = replace(ENDPOINT, sort="-created_at")
    target = page_target(endpoint, 3, 100, [("participant_id", "secret & more"), ("cohort", "2021")])
    assert "secret" in target
    shown = loggable_target(target, endpoint.paging)
    assert shown == (
        f"{ENDPOINT.path}?page[page]=3&page[per_page]=100&sort=...&filter[participant_id]=...&filter[cohort]=..."
    )


def test_the_target_of_an_unpaged_endpoint_has_no_page() -> None:
    unpaged = replace(ENDPOINT, paging=Paging("none", "", "", 1))
    assert page_target(unpaged, 1, 100) == ENDPOINT.path
    assert loggable_target(ENDPOINT.path, unpaged.paging) == ENDPOINT.path
