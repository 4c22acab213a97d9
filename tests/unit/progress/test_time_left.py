"""The time that a run still takes: exact under one limit, never shorter than the limits allow, and quick to compute."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulk_export.progress.run_state import with_pauses
from bulk_export.progress.time_left import Ceiling, Stage, WindowForecast, WorkLeft, _Simulation, seconds_left

FIVE_MINUTES = 300.0


def work(requests: int, *windows: WindowForecast, pace: float = 0.0, latency: float = 1.0) -> WorkLeft:
    return WorkLeft((Stage(requests, pace, latency),), windows)


def one_by_one(requests: int, pace: float, latency: float, windows: list[WindowForecast]) -> float:
    """The same by looking at every request: each is sent when fewer than the limit count in every window."""
    ends: list[float] = []
    moment = finished = 0.0
    for _ in range(requests):
        while True:
            waits = []
            for window in windows:
                until = sorted([*window.free_in, *(end + window.period for end in ends)])
                counted = [end for end in until if end > moment]
                if len(counted) >= window.limit:
                    waits.append(counted[len(counted) - window.limit])
            if not waits:
                break
            moment = max(waits)
        finished = moment + latency
        ends.append(finished)
        moment += pace
    return finished


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.sampled_from([0.0, 0.1, 3.0]),
    st.sampled_from([0.0, 0.5, 7.0]),
    st.lists(
        st.builds(
            lambda limit, period, parts: WindowForecast(
                limit, period, tuple(sorted(p * period for p in parts[:limit]))
            ),
            st.integers(1, 9),
            st.sampled_from([10.0, 60.0]),
            st.lists(st.floats(0.01, 1.0), max_size=9),
        ),
        max_size=2,
    ),
)
def test_it_is_what_each_request_has_to_wait(
    requests: int, pace: float, latency: float, windows: list[WindowForecast]
) -> None:
    """Under one limit it is exact, however many requests are multiplied; under two it is never much too short."""
    found = seconds_left(work(requests, *windows, pace=pace, latency=latency))
    real = one_by_one(requests, pace, latency, windows)
    if len(windows) < 2:
        assert found == pytest.approx(real, abs=1e-6)
    else:
        assert 0.8 * real - 1e-6 <= found <= 1.25 * real + 1e-6


def test_a_free_window_delays_nothing() -> None:
    window = WindowForecast(300, FIVE_MINUTES)
    assert seconds_left(work(300, window, pace=0.1)) == pytest.approx(299 * 0.1 + 1.0)
    assert seconds_left(work(301, window, pace=0.1)) == pytest.approx(301.0 + 1.0)
    assert seconds_left(WorkLeft(())) == 0.0


def test_requests_that_count_already_delay() -> None:
    """What earlier runs and other processes sent keeps its place until it is a period old."""
    spent = WindowForecast(300, FIVE_MINUTES, (100.0,) * 299)
    assert seconds_left(work(1, spent)) == 1.0
    assert seconds_left(work(2, spent)) == 101.0


def test_a_hold_comes_first() -> None:
    assert seconds_left(WorkLeft((Stage(10, 0.1, 1.0),), held_for=60.0)) == pytest.approx(60.0 + 0.9 + 1.0)


def test_a_ceiling_grows() -> None:
    """After a 429 a window holds what got through, and more with time."""
    window = WindowForecast(10, 100.0)
    slow = WorkLeft((Stage(21, 0.0, 0.0),), (window,), ceiling=Ceiling(2.0, 0.01))
    # 2 at once, the third after 100 s with the ceiling at 3, and so on: never more than 10 in a window.
    assert seconds_left(slow) > seconds_left(work(21, window, latency=0.0)) == 200.0
    assert seconds_left(slow) == pytest.approx(500.0, rel=0.2)
    grown = WorkLeft((Stage(21, 0.0, 0.0),), (window,), ceiling=Ceiling(10.0, 0.01))
    assert seconds_left(grown) == 200.0


def test_writing_goes_on_beside() -> None:
    """A writer that is slower than the requests decides; a faster one only writes the last page after them."""
    assert seconds_left(WorkLeft((Stage(10, 1.0, 1.0, writing=0.5),))) == pytest.approx(10.5)
    assert seconds_left(WorkLeft((Stage(10, 1.0, 1.0, writing=5.0),))) == pytest.approx(51.0)
    assert seconds_left(WorkLeft((), backlog=7.0)) == 7.0
    limited = WorkLeft((Stage(900, 0.0, 0.0, writing=2.0),), (WindowForecast(300, FIVE_MINUTES),))
    assert seconds_left(limited) == pytest.approx(1800.0)


def test_stages_follow_each_other() -> None:
    """A further sweep begins after the last response of the first one."""
    assert seconds_left(WorkLeft((Stage(10, 0.1, 1.0), Stage(3, 2.0, 2.0)))) == pytest.approx(0.9 + 1.0 + 6.0)


@pytest.mark.parametrize(
    ("requests", "windows", "ceiling"),
    [
        (300_000, (WindowForecast(1000, FIVE_MINUTES), WindowForecast(300, FIVE_MINUTES, (5.0,) * 300)), None),
        (300_000, (WindowForecast(1000, FIVE_MINUTES), WindowForecast(240, 60.0)), None),
        (300_000, (WindowForecast(1000, FIVE_MINUTES), WindowForecast(300, FIVE_MINUTES)), Ceiling(1.0, 1 / 3)),
        (300_000, (WindowForecast(1000, FIVE_MINUTES), WindowForecast(300, FIVE_MINUTES)), Ceiling(1.0, 0.0)),
        (300_000, (WindowForecast(100_000, FIVE_MINUTES), WindowForecast(60_000, 60.0)), None),
    ],
)
def test_large_runs_take_few_steps(
    requests: int, windows: tuple[WindowForecast, ...], ceiling: Ceiling | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large a run is, few requests of it are simulated one by one."""
    steps = 0
    send = _Simulation._send

    def counted(simulation: _Simulation, stage: Stage) -> None:
        nonlocal steps
        steps += 1
        send(simulation, stage)

    monkeypatch.setattr(_Simulation, "_send", counted)
    found = seconds_left(WorkLeft((Stage(requests, 0.0, 0.5),), windows, ceiling=ceiling))
    assert steps < 5_000
    least = max((requests // window.limit - 1) * window.period for window in windows)
    assert found >= 0.99 * least


def test_work_rests_while_the_window_is_closed() -> None:
    assert with_pauses(50.0, ((100.0, 200.0),)) == 50.0
    assert with_pauses(150.0, ((100.0, 200.0),)) == 250.0
    assert with_pauses(150.0, ((-5.0, 10.0), (100.0, 200.0), (250.0, 300.0))) == 310.0
    assert with_pauses(0.0, ((0.0, 10.0),)) == 0.0


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 400),
    st.integers(1, 40),
    st.floats(0.5, 60.0),
    st.lists(st.floats(0.0, 400.0), max_size=40),
    st.sampled_from([0.0, 17.3, 86_400.0]),
    st.builds(Ceiling, st.floats(0.0, 50.0), st.floats(0.0, 3.0)),
)
@example(357, 4, 2.0, [400.0] * 3, 0.0, Ceiling(13.4, 0.17))
@example(112, 5, 2.0, [], 0.0, Ceiling(5.0, 0.0))
def test_a_ceiling_makes_nothing_earlier(
    requests: int, limit: int, period: float, free_in: list[float], held_for: float, ceiling: Ceiling
) -> None:
    """Whatever a service lets through, there is an answer, and it is not earlier than without the ceiling."""
    free = WorkLeft(
        (Stage(requests, 0.1, 1.0), Stage(requests // 9, 1.0, 1.0)),
        (WindowForecast(limit, period, tuple(free_in)), WindowForecast(limit + 3, 2 * period)),
        held_for=held_for,
    )
    found = seconds_left(replace(free, ceiling=ceiling))
    assert math.isfinite(found)
    assert found >= 0.9 * seconds_left(free)
