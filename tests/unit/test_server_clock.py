"""How far the clock of a service is believed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.server_clock import agreed, believed, bounded

HOUR, DAY, YEAR = 3_600.0, 86_400.0, 365 * 86_400.0


@pytest.mark.parametrize(
    ("readings", "wanted"),
    [
        ([], (None, 0)),
        ([math.nan, math.inf], (None, 0)),
        ([-0.4, -0.9, 0.1], (-0.9, 3)),
        ([YEAR, -0.4, -0.9], (-0.9, 2)),
        ([-YEAR, -0.4, HOUR, -0.2], (-0.4, 2)),
        ([HOUR, 0.0], (0.0, 1)),
    ],
)
def test_most_answers_decide_and_the_earliest_of_them(readings: list[float], wanted: tuple[float | None, int]) -> None:
    assert agreed(readings) == wanted


@pytest.mark.parametrize(
    ("ahead", "answers", "before", "wanted"),
    [
        (None, 0, -7.0, -7.0),
        (12.0, 1, 0.0, 12.0),
        (HOUR, 9, -2.0, -2.0),  # ahead: by our own clock the next poll asks from further back
        (HOUR, 9, 5.0, 0.0),
        (YEAR, 9, 0.0, 0.0),
        (-HOUR, 1, 0.0, -HOUR),
        (-YEAR, 1, 0.0, 0.0),
        (-YEAR, 3, 0.0, -YEAR),
        (-YEAR, 1, -YEAR + 3, -YEAR),
        (-2_000 * YEAR, 9, -1.0, -1.0),
        (math.nan, 9, -1.0, -1.0),
    ],
)
def test_a_clock_ahead_is_followed_for_minutes_and_one_behind_for_a_day_or_where_answers_agree(
    ahead: float | None, answers: int, before: float, wanted: float
) -> None:
    assert believed(ahead, answers, before) == wanted


@given(st.floats(), st.integers(0, 9), st.floats(-1e9, 300))
def test_no_answer_puts_a_start_more_than_minutes_into_the_future(ahead: float, answers: int, before: float) -> None:
    assert believed(ahead, answers, before) <= 300
    assert bounded(ahead) <= 300
