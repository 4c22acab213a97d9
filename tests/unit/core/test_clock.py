"""How far the clock of a service is believed, and what `Retry-After` says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.clock import announced_wait, consensus, trusted_difference, valid_difference

# Our clock shows 10:00:30, and so does the service's where it is right.
WALL = 1_795_428_030.0
DATE = "Mon, 23 Nov 2026 10:00:30 GMT"
IN_A_MINUTE = "Mon, 23 Nov 2026 10:01:30 GMT"
A_YEAR_AHEAD, A_YEAR_BEHIND = "Tue, 23 Nov 2027 10:00:30 GMT", "Sun, 23 Nov 2025 10:00:30 GMT"


@pytest.mark.parametrize(
    ("retry_after", "date", "wait"),
    [
        ("60", None, 60.0),
        (" 60 ", DATE, 60.0),
        (IN_A_MINUTE, DATE, 60.0),
        (IN_A_MINUTE, None, 60.0),
        (IN_A_MINUTE, "nonsense", 60.0),
        (IN_A_MINUTE, A_YEAR_AHEAD, 60.0),
        (IN_A_MINUTE, A_YEAR_BEHIND, 60.0),
        ("Mon, 23 Nov 2026 09:59:00 GMT", DATE, 0.0),
        (None, DATE, None),
        ("", DATE, None),
        ("-5", DATE, None),
        ("soon", DATE, None),
        ("9" * 5_000, DATE, None),
        ("\u0661\u0662", DATE, None),
    ],
)
def test_retry_after_is_read_in_both_forms(retry_after: str | None, date: str | None, wait: float | None) -> None:
    """A wait is read in both forms although one of the clocks is far off."""
    assert announced_wait(retry_after, date=date, wall=WALL) == wait


@given(retry_after=st.text(max_size=40), date=st.none() | st.text(max_size=40), wall=st.floats(0, 1e11))
def test_any_text_is_accepted(retry_after: str, date: str | None, wall: float) -> None:
    """Any text in a header gives a wait or none, and no exception."""
    wait = announced_wait(retry_after, date=date, wall=wall)
    assert wait is None or wait >= 0


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
def test_largest_group_of_responses_decides(readings: list[float], wanted: tuple[float | None, int]) -> None:
    """The largest group of responses that agree decides, by its lowest difference."""
    assert consensus(readings) == wanted


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
def test_service_clock_is_followed_with_care(ahead: float | None, answers: int, before: float, wanted: float) -> None:
    """A service's clock that is ahead is followed for minutes; one that is behind for a day, or if responses agree."""
    assert trusted_difference(ahead, answers, before) == wanted


@given(st.floats(), st.integers(0, 9), st.floats(-1e9, 300))
def test_start_is_never_far_in_the_future(ahead: float, answers: int, before: float) -> None:
    """No response moves a start more than minutes into the future."""
    assert trusted_difference(ahead, answers, before) <= 300
    assert valid_difference(ahead) <= 300
