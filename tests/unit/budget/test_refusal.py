"""How long to hold after a 429."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.budget.refusal import pause_after_refusal

DATE = "Mon, 23 Nov 2026 10:00:30 GMT"


def pause(**changes: object) -> float:
    arguments = {"retry_after": None, "date": None, "wall": 30.0, "period": 300.0, "refusals": 1, "uniform": 0.0}
    return pause_after_refusal(**(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("0", 0.2, 0.3),
        ("99999999", 300, 300),
        ("Mon, 23 Nov 2026 10:01:10 GMT", 40, 40),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.2, 0.3),
        ("-5", 0.9, 1.1),
        ("soon", 0.9, 1.1),
        ("", 0.9, 1.1),
    ],
)
def test_retry_after_is_followed_in_both_forms_within_bounds(retry_after: str, least: float, most: float) -> None:
    assert least <= pause(retry_after=retry_after, date=DATE) <= most


def test_without_it_the_next_window_by_the_services_clock_is_waited_for_if_that_is_sooner() -> None:
    assert pause(date="Mon, 23 Nov 2026 10:04:59 GMT", refusals=9) == pytest.approx(1.25)


@given(
    retry_after=st.none() | st.text(max_size=40) | st.integers(-(10**12), 10**12).map(str),
    date=st.none() | st.text(max_size=40),
    wall=st.floats(0, 4e9),
    period=st.floats(1, 3600),
    refusals=st.integers(1, 200),
    uniform=st.floats(0, 1),
)
def test_no_answer_makes_it_wait_longer_than_a_period_or_not_at_all(**drawn: object) -> None:
    waited = pause(**drawn)
    assert 0 < waited <= float(str(drawn["period"])) + 0.25
