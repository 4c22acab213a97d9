"""When records that a load lacks are too many."""

from __future__ import annotations

import pytest

from bulk_export.pipelines.sync.confirm_removals import ALWAYS_ACCEPTED, MissingRecords, removals_refused


@pytest.mark.parametrize(
    ("rows", "of", "always", "is_beyond"),
    [
        (0, 0, 0, False),
        (10, 100, 0, False),
        (11, 100, 0, True),
        (50, 50, ALWAYS_ACCEPTED, False),
        (51, 60, ALWAYS_ACCEPTED, True),
        (100, 1_000, ALWAYS_ACCEPTED, False),
    ],
)
def test_more_than_a_share_and_more_than_some(rows: int, of: int, always: int, is_beyond: bool) -> None:
    """Removals are refused beyond the allowed share, unless they are as few as always accepted."""
    assert MissingRecords(rows, of).is_beyond(0.1, always=always) is is_beyond


def test_nothing_may_go_with_a_share_of_zero() -> None:
    """With a share of zero, a single missing record is too many."""
    assert MissingRecords(1, 100).is_beyond(0.0)
    assert not MissingRecords(0, 100).is_beyond(0.0)


def test_a_refusal_names_tables_and_numbers() -> None:
    refused = removals_refused({"a": MissingRecords(2_050, 3_050), "b": MissingRecords(60, 61)})
    assert "2,050 of 3,050 in a, 60 of 61 in b" in refused.what
    assert refused.exit_code == 4
