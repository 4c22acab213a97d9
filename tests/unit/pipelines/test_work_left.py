"""The time left that a running export announces, on virtual time: from one third on it is within 20 % of the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulk_export.core.daily_window import Window
from bulk_export.core.model import Limit
from bulk_export.pipelines.simulation import schedule
from bulk_export.progress.time_left import Stage, WindowForecast, WorkLeft, seconds_left
from tests.support.virtual_export import Announced, Scene, announced

MINUTE = (Limit(200, 60.0), Limit(60, 60.0))
ONE = {"things": 30_000}
LAST_TIME = {"things": 29_000}
# A list of 101 pages, whose size is about that of the last time.
USUAL = Scene(ONE, limits=MINUTE, facts=LAST_TIME, min_interval=0.0)
# Retry-After of 20 s.
REJECTED = 20.0

SCENES = {
    "under the limits": replace(USUAL, lists={"things": 50_000}, facts={"things": 50_000}),
    "within one window": replace(USUAL, lists={"things": 300 * 59}, facts={"things": 17_000}),
    "no limit is reached": replace(USUAL, limits=(Limit(9_000, 60.0), Limit(9_000, 60.0))),
    "a slow service": replace(USUAL, latency=lambda _: 10.0),
    "large pages take longer": replace(USUAL, latency=lambda records: 0.2 + records / 300),
    "one worker": replace(USUAL, workers=1, latency=lambda _: 1.0),
    "a tight limit": replace(USUAL, limits=(Limit(9, 30.0), Limit(9, 30.0))),
    "two limits of different length": replace(USUAL, limits=(Limit(60, 60.0), Limit(20, 10.0))),
    "least interval": replace(USUAL, limits=(Limit(9_000, 60.0), Limit(9_000, 60.0)), min_interval=0.5),
    "several lists, sizes of the last time": replace(
        USUAL,
        lists={"small": 1_000, "large": 20_000, "middle": 10_000},
        facts={"small": 1_100, "large": 19_000, "middle": 9_800},
    ),
    "several lists, nothing known": replace(
        USUAL, lists={"first": 12_000, "second": 13_000, "third": 11_500, "fourth": 12_500}, facts={}
    ),
    "a 429": replace(USUAL, fault=lambda number: REJECTED if number == 50 else None),
    "several 429s": replace(USUAL, fault=lambda number: REJECTED if number in {20, 21, 22, 80} else None),
    "a long hold": replace(USUAL, fault=lambda number: 59.0 if number == 30 else None),
    "every tenth request fails": replace(USUAL, fault=lambda number: "failed" if number % 10 == 3 else None),
    "swept again": replace(USUAL, lists={"things": 28_500}, consistent=True, latency=lambda _: 1.0),
    "two lists swept again": replace(
        USUAL, lists={"a": 15_000, "b": 9_000}, facts={"a": 15_000, "b": 8_800}, consistent=True
    ),
    "swept again under a tight limit": replace(USUAL, consistent=True, limits=(Limit(30, 60.0), Limit(30, 60.0))),
    "writing is slow": replace(USUAL, writing=1.0),
    "writing and limits": replace(USUAL, writing=0.5, limits=(Limit(30, 60.0), Limit(30, 60.0))),
    "goes on with pages kept": replace(USUAL, stored={"things": 60}),
    "goes on after the limit was used up": replace(
        USUAL, stored={"things": 50}, earlier=[40.0 - 0.1 * number for number in range(55)]
    ),
    "others use the limit": replace(USUAL, earlier=[20.0] * 40),
    "a daily window that closes": replace(USUAL, between=Window.of("00:00-00:01", "UTC")),
}


def run(scene: Scene) -> tuple[list[Announced], float]:
    every = 1_000.0 if scene.between else 3.0
    log, end = announced(scene, every)
    # A short run is looked at more often.
    return (log, end) if end >= 60 else announced(scene, 0.5)


@pytest.mark.parametrize("name", SCENES)
def test_the_announced_end_is_true(name: str) -> None:
    log, end = run(SCENES[name])
    later = [moment for moment in log if moment.at >= end / 3]
    assert later
    wrong = [
        (round(moment.at), moment.end and round(moment.end))
        for moment in later
        if moment.end is None or abs(moment.end - end) > 0.2 * end
    ]
    assert not wrong, f"really ended at {end:.0f}"


def test_nothing_is_announced_before_a_size_is_known() -> None:
    """Then there is only the least time; as soon as the size of one list is known, there is always a number."""
    log, _ = announced(replace(USUAL, lists={"long": 20_000, "other": 5_000}, facts={}), 1.0)
    assert log[0].end is None
    assert log[0].state.least is not None
    first = next(number for number, moment in enumerate(log) if moment.end is not None)
    assert all(moment.end is not None for moment in log[first:])
    assert all(moment.state.least_seconds() <= 130.0 for moment in log[:first])


def test_states_are_true() -> None:
    """A hold, the ceiling after it, a list that is read again, and what is only to be written."""
    scene = replace(
        USUAL, consistent=True, writing=0.02, fault=lambda number: REJECTED if number == 50 else None, largest=300
    )
    log, _ = announced(scene, 1.0)
    states = [moment.state for moment in log]
    held = [number for number, state in enumerate(states) if state.held_for > 0]
    assert held
    assert max(states[number].held_for for number in held) == pytest.approx(20.0, abs=2.0)
    after = states[held[-1] + 2]
    assert after.ceiling is not None
    assert after.ceiling.requests < 60
    numbers = [state.rereading[1] for state in states if state.rereading is not None]
    assert sorted(set(numbers)) == [1, 2]
    assert numbers == sorted(numbers)


def test_writing_is_a_state_of_its_own() -> None:
    log, end = announced(replace(USUAL, lists={"things": 3_000}, writing=2.0), 1.0)
    last = log[-1].state
    assert last.is_fetched
    assert last.work is not None
    assert last.work.requests == 0
    assert seconds_left(last.work) == pytest.approx(end - log[-1].at, abs=2.5)


@pytest.mark.parametrize("requests", [1, 299, 300, 301, 804, 1_507])
@pytest.mark.parametrize("limits", [(Limit(1000, 300.0), Limit(300, 300.0)), (Limit(1000, 300.0), Limit(240, 60.0))])
def test_it_agrees_with_the_plan(requests: int, limits: tuple[Limit, Limit]) -> None:
    """At its start a run announces what `plan`, which asks the real ledger for each request, says that it takes."""
    service, address = limits
    planned = schedule(requests, service_limit=service, address_limit=address, min_interval=0.1, latency=0.5)
    windows = tuple(WindowForecast(limit.requests, limit.period) for limit in limits)
    found = seconds_left(WorkLeft((Stage(requests, 0.1, 0.5),), windows))
    assert found == pytest.approx(planned.finished, rel=0.01, abs=0.1)
