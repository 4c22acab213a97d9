"""How long requests take lately, and how many of them a page takes."""

from __future__ import annotations

import pytest

from bulk_export.extract.pace import RecentMean, RequestPace


def test_later_values_weigh_more() -> None:
    """It follows a service that becomes slower, and is exact for the first values."""
    mean = RecentMean()
    for value in (1.0, 2.0, 3.0):
        mean.add(value)
    assert mean.value == pytest.approx(2.0)
    for _ in range(200):
        mean.add(10.0)
    assert mean.value == pytest.approx(10.0, abs=0.1)


def test_kinds_of_requests() -> None:
    """A kind that was not seen yet is taken to be like the other one."""
    pace = RequestPace()
    assert pace.seconds(is_further=False) == 0.0
    pace.record(0.5, is_further=False, has_arrived=True)
    assert pace.seconds(is_further=True) == 0.5
    pace.record(4.0, is_further=True, has_arrived=True)
    assert (pace.seconds(is_further=False), pace.seconds(is_further=True)) == (0.5, 4.0)


def test_failures_make_more_requests() -> None:
    pace = RequestPace()
    assert pace.requests_per_page == 1.0
    for number in range(40):
        pace.record(0.1, is_further=False, has_arrived=number % 4 != 0)
    assert pace.requests_per_page == pytest.approx(4 / 3)
    for _ in range(400):
        pace.record(0.1, is_further=False, has_arrived=False)
    assert pace.requests_per_page == 2.0
