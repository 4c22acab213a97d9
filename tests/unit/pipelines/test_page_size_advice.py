"""What larger pages would save is said where it is worth a line, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.page_size_advice import page_size_advice


def advice(records: int, **changes: Any) -> str | None:
    options = ExportOptions.of(environment="local", **changes)
    found = page_size_advice(options, {endpoint.name: records for endpoint in options.endpoints})
    return None if found is None else str(found)


def test_minutes_that_can_be_saved() -> None:
    """Where a limit holds small pages up, the difference is minutes."""
    assert advice(40_000) == (
        "with --page-size 3000 it takes 84 requests and about 9 s, instead of 804 and 10 min 22 s"
    )


@pytest.mark.parametrize(
    ("records", "changes"),
    [
        (1_000, {}),  # no time to be saved
        (40_000, {"page_size": 3_000}),  # it is chosen already
        (40_000, {"limit": 100}),  # a sample chooses itself
        (10_000_000, {"page_size": 1}),  # too much to simulate
    ],
)
def test_nothing_to_say(records: int, changes: dict[str, Any]) -> None:
    """Otherwise nothing is said."""
    assert advice(records, **changes) is None
