"""Bounds that follow from the page size and from the way a list is paged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.extract.client import Timeouts
from bulk_export.pipelines.tuning import Tuning, body_cap
from tests.support.stored_pages import PARTNERS

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(("page_size", "megabytes"), [(1, 32), (1_024, 32), (2_048, 64), (None, 93.75)])
def test_the_cap_grows_with_the_page(page_size: int | None, megabytes: float) -> None:
    """A body may have 32 KiB a record, at least 32 MiB; an unknown page size counts as 3,000 records."""
    assert body_cap(page_size) == megabytes * MEGABYTE


def test_a_response_with_everything_may_take_longer() -> None:
    tuning = Tuning(timeouts=Timeouts())
    unpaged = replace(PARTNERS, paging=replace(PARTNERS.paging, style="none"))
    assert tuning.longest_request([PARTNERS]) < tuning.longest_request([PARTNERS, unpaged])


def test_retries_are_added_to_the_first_request() -> None:
    backoff = Tuning().backoff(2)
    assert [backoff.exhausted(failures) for failures in (1, 2, 3)] == [False, False, True]
