"""What `Retry-After` and `Date` say, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.server_clock import announced_wait

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
def test_a_wait_is_read_in_both_forms_though_one_clock_is_far_off(
    retry_after: str | None, date: str | None, wait: float | None
) -> None:
    assert announced_wait(retry_after, date=date, wall=WALL) == wait


@given(retry_after=st.text(max_size=40), date=st.none() | st.text(max_size=40), wall=st.floats(0, 1e11))
def test_no_text_is_a_defect(retry_after: str, date: str | None, wall: float) -> None:
    wait = announced_wait(retry_after, date=date, wall=wall)
    assert wait is None or wait >= 0
