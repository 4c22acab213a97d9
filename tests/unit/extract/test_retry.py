"""Dispositions and backoff."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.extract.retry import Backoff, StatusClass, classify_status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_a_4xx_is_rejected(status: int) -> None:
    """For good: no further request would change it."""
    assert classify_status(status) is StatusClass.REJECTED


@pytest.mark.parametrize("status", [201, 204, 206, 301, 302, 303, 304, 307, 308])
def test_redirects_and_other_2xx_are_rejected(status: int) -> None:
    """Only 200 is a page, and no redirect is followed."""
    assert classify_status(status) is StatusClass.REJECTED


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 520, 599])
def test_trouble_that_may_pass_is_retried(status: int) -> None:
    assert classify_status(status) is StatusClass.RETRY


def test_200_is_accepted_and_429_throttled() -> None:
    assert classify_status(200) is StatusClass.ACCEPT
    assert classify_status(429) is StatusClass.THROTTLED


@given(failures=st.integers(1, 60), uniform=st.floats(0, 1))
def test_the_delay_has_full_jitter(failures: int, uniform: float) -> None:
    """Under a bound that doubles."""
    backoff = Backoff(attempts=8, base=0.25, longest=30.0)
    bound = min(30.0, 0.25 * 2 ** (failures - 1))
    assert 0 <= backoff.delay(failures, uniform) <= bound
    assert backoff.delay(failures, 0.0) == 0
    assert backoff.delay(failures, 1.0) == bound


def test_the_number_of_requests_is_bounded() -> None:
    """For one page."""
    backoff = Backoff(attempts=3)
    assert [backoff.exhausted(failures) for failures in (1, 2, 3, 4)] == [False, False, True, True]
