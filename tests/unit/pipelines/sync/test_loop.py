"""Polling at intervals, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import (
    BudgetUnavailable,
    BulkExportError,
    DamagedState,
    Interrupted,
    LocalFailure,
    ServiceFailing,
    ServiceRefused,
    UsageError,
)
from bulk_export.pipelines.sync.loop import LoopStats, run_periodically
from tests.support.virtual_time import run_virtually

HOUR = 3600.0


@dataclass
class Run:
    """When polls began and ended, in seconds since the epoch, and what was said."""

    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    outcome: LoopStats = field(default_factory=LoopStats)
    over: float = 0.0


def play(
    until: float,
    *,
    start: float = 0.0,
    draw: float = 0.5,
    poll: Callable[[int], BulkExportError | float] = lambda _: 1.0,
) -> Run:
    """Repeat hourly until a signal at `until`; `poll` gives for each poll how long it takes, or how it fails."""
    run = Run()

    def clock() -> float:
        return start + asyncio.get_running_loop().time()

    async def one() -> None:
        assert len(run.began) == len(run.ended), "two polls at once"
        result = poll(len(run.began))
        run.began.append(clock())
        try:
            if isinstance(result, BulkExportError):
                raise result
            await anyio.sleep(result)
        finally:
            run.ended.append(clock())

    async def main() -> Run:
        stop = anyio.Event()

        async def signal() -> None:
            await anyio.sleep(until - start)
            stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(signal)
            run.outcome = await run_periodically(
                HOUR, one, clock=clock, random=lambda: draw, stop=stop, notice=run.notices.append
            )
            run.over = clock()
            tasks.cancel_scope.cancel()
        return run

    return run_virtually(main)


def test_the_first_poll_comes_at_once_and_then_one_in_each_period_at_one_offset() -> None:
    run = play(10 * HOUR, start=100.0, draw=0.25)
    offset = HOUR * (0.05 + 0.9 * 0.25)
    assert run.began[0] == 100.0
    assert run.began[1:] == pytest.approx([hour * HOUR + offset for hour in range(1, 10)], abs=1e-3)
    assert run.outcome == LoopStats(polls=10)
    assert run.notices == []


@settings(deadline=None, max_examples=30)
@given(
    start=st.floats(0, 10 * HOUR),
    draw=st.floats(0, 1),
    lengths=st.lists(st.floats(0, 4 * HOUR), min_size=1, max_size=12),
)
def test_never_two_at_once_never_on_the_hour_and_never_much_later_than_due(
    start: float, draw: float, lengths: list[float]
) -> None:
    run = play(start + 30 * HOUR, start=start, draw=draw, poll=lambda number: lengths[number % len(lengths)])
    for began in run.began[1:]:
        assert 0.04 * HOUR < began % HOUR < 0.96 * HOUR
    for ended, (before, after) in zip(run.ended, pairwise(run.began), strict=False):
        assert after >= ended
        assert after - before >= 0.49 * HOUR
        assert after - max(ended, before + HOUR / 2) <= HOUR + 1


def test_a_poll_longer_than_its_period_leaves_out_those_it_overlaps_and_says_so() -> None:
    run = play(8 * HOUR, draw=0.5, poll=lambda number: 2.5 * HOUR if number == 1 else 1.0)
    assert run.began == pytest.approx([0, 1.5 * HOUR, 4.5 * HOUR, 5.5 * HOUR, 6.5 * HOUR, 7.5 * HOUR], abs=1e-3)
    assert run.outcome == LoopStats(polls=6, skipped=2)
    assert run.notices == ["The poll took 9000 s, longer than its period: 2 left out."]


def test_a_service_that_is_away_is_asked_again_a_period_later() -> None:
    away = {1: ServiceFailing("It kept failing."), 2: BudgetUnavailable("The store is away.")}
    run = play(4.9 * HOUR, draw=0.5, poll=lambda number: away.get(number, 1.0))
    assert run.outcome == LoopStats(polls=3, failed=2)
    assert ["It kept failing." in run.notices[0], "The store is away." in run.notices[1]] == [True, True]


@pytest.mark.parametrize("kind", [UsageError, ServiceRefused, LocalFailure, DamagedState, Interrupted])
def test_what_only_a_person_can_mend_ends_it(kind: type[BulkExportError]) -> None:
    """Also after many polls went well: a token that was withdrawn is not tried again every hour."""
    with pytest.raises(ExceptionGroup) as ended:
        play(10 * HOUR, poll=lambda number: kind("No further.") if number == 3 else 1.0)
    assert ended.group_contains(kind, match="No further")


def test_a_signal_between_polls_ends_it_at_once_and_well() -> None:
    run = play(2 * HOUR, draw=0.5)
    assert run.over == pytest.approx(2 * HOUR, abs=1e-3)
    assert run.outcome == LoopStats(polls=2)


def test_a_clock_set_back_delays_the_next_poll_by_a_period_and_a_half_at_most() -> None:
    began: list[float] = []
    set_by = 10 * 24 * HOUR

    async def main() -> None:
        nonlocal set_by
        stop = anyio.Event()

        async def poll() -> None:
            began.append(asyncio.get_running_loop().time())
            if len(began) == 2:
                stop.set()

        async def set_back() -> None:
            nonlocal set_by
            await anyio.sleep(60)
            set_by = 0.0

        def clock() -> float:
            return set_by + asyncio.get_running_loop().time()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(set_back)
            await run_periodically(HOUR, poll, clock=clock, random=lambda: 0.5, stop=stop, notice=lambda _: None)

    run_virtually(main)
    assert began[1] - began[0] <= 1.6 * HOUR
