"""How long all requests wait for a service that is away, and when that is given up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import ServiceFailing
from bulk_export.extract.outage import Outage
from bulk_export.extract.retry import Backoff
from bulk_export.pipelines.tuning import Tuning

MAX_WAIT = 900.0
UNIFORM = st.floats(0, 1)


def outage(max_wait: float = MAX_WAIT, uniform: float = 0.5) -> Outage:
    return Outage(Tuning().backoff(7), max_wait=max_wait, uniform=lambda: uniform)


def test_an_announced_wait_is_honoured() -> None:
    away = outage()
    assert away.announced(503, 60.0, 1, sent_in=0, now=100.0) == 60.0
    assert (away.shut_for(100.0), away.shut_for(159.0), away.shut_for(160.0)) == (60.0, 1.0, 0.0)


def test_requests_on_their_way_begin_no_other_hold() -> None:
    """Requests that were on their way when a hold began may only make it longer."""
    away = outage()
    away.announced(503, 60.0, 1, sent_in=0, now=0.0)
    assert away.announced(503, 30.0, 2, sent_in=0, now=1.0) is None
    assert away.shut_for(0.0) == 60.0
    assert away.announced(503, 90.0, 3, sent_in=0, now=2.0) is None
    assert away.shut_for(0.0) == 92.0
    assert away.unreachable("no", sent_in=0, now=3.0) is None
    assert away.failures == 0


@pytest.mark.parametrize("retry_after", [901.0, 86_400.0, 999_999_999.0])
def test_a_longer_wait_than_allowed_ends_the_run(retry_after: float) -> None:
    """The error names both the announced wait and the allowed one."""
    with pytest.raises(ServiceFailing) as ended:
        outage().announced(503, retry_after, 1, sent_in=0, now=0.0)
    said = " ".join(ended.value.lines())
    assert "15 min of --max-wait" in said
    assert "announced a wait of" in said


@settings(max_examples=30, deadline=None)
@given(
    retry_after=st.floats(-1e6, 20),
    uniform=UNIFORM,
    max_wait=st.sampled_from([0.0, 5.0, 900.0, 7_200.0]),
    same=st.booleans(),
)
def test_short_waits_without_end_are_given_up(retry_after: float, uniform: float, max_wait: float, same: bool) -> None:
    """Whether all pages meet it, or one of them while others arrive."""
    away, now, waits = outage(max_wait, uniform), 0.0, 0
    with pytest.raises(ServiceFailing, match="--max-wait"):  # noqa: PT012  # until it is raised
        while True:
            wait = away.announced(503, retry_after, 1 if same else waits, sent_in=waits, now=now)
            assert wait is not None
            assert wait >= retry_after
            waits += 1
            now += wait
            assert away.shut_for(now) == pytest.approx(0.0, abs=1e-6)
            if same:
                away.over()
    assert waits <= 10 + max_wait / 20
    assert now <= max_wait + 1


def test_an_arrived_page_resets_the_count_of_waits() -> None:
    away = outage(10.0)
    for number in range(50):
        assert away.announced(503, 3.0, number, sent_in=number, now=number * 10.0) == 3.0
        away.over()


def test_failed_connections_are_spread_over_minutes() -> None:
    """And then they are given up."""
    away, now = outage(), 0.0
    with pytest.raises(ServiceFailing, match="failed 8 times, last: no connection"):  # noqa: PT012  # at last
        while True:
            wait = away.unreachable("no connection", sent_in=away.holds, now=now)
            assert wait is not None
            now += wait
    assert 180 <= now <= 300
    assert away.reached() == 8
    assert away.reached() == 0


@pytest.mark.parametrize(
    ("retry_after", "pause", "held"),
    [(None, 7.0, 7.0), (3.0, 7.0, 7.0), (600.0, 300.0, 600.0), (86_401.0, 300.0, 300.0), (10.0**9, 300.0, 300.0)],
)
def test_a_429_may_ask_for_more_than_a_period(retry_after: float | None, pause: float, held: float) -> None:
    """It is honoured, unless it asks for more than a day."""
    away = outage()
    assert away.throttled(retry_after, pause, now=0.0) == held
    assert away.shut_for(0.0) == (held if held > pause else 0.0)


def test_a_429_beyond_the_allowed_wait_ends_the_run() -> None:
    with pytest.raises(ServiceFailing, match="429 and announced a wait of 2 h"):
        outage().throttled(7_200.0, 300.0, now=0.0)


@given(uniform=UNIFORM)
def test_the_default_backoff_is_bounded(uniform: float) -> None:
    backoff = Tuning().backoff(7)
    assert sum(backoff.delay(failures, uniform) for failures in range(1, 8)) <= 600
    assert math.isfinite(Backoff(attempts=10**6).delay(10**6, uniform))


def test_seven_retries_take_three_to_five_minutes() -> None:
    """On average."""
    backoff = Tuning().backoff(7)
    assert 180 <= sum(backoff.delay(failures, 0.5) for failures in range(1, 8)) <= 300
    assert backoff.delay(1, 1.0) <= 1
