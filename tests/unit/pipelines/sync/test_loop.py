"""Polling once an interval: on virtual time, and as a process beside others in the same directory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import (
    BudgetUnavailable,
    BulkExportError,
    DamagedState,
    DirectoryInUse,
    Interrupted,
    LocalFailure,
    ServiceFailing,
    ServiceRefused,
    UsageError,
)
from bulk_export.output.directory import locked_directory
from bulk_export.pipelines.sync import loop, monitored
from bulk_export.pipelines.sync.loop import LoopStats, run_periodically, sync_forever
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import SyncSummary
from tests.support.copy_scene import NAME, Scene, scene
from tests.support.exporting import FREE, TOKEN
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


def test_one_poll_in_each_interval() -> None:
    """The first poll comes at once, the others in each interval at the same offset."""
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
def test_polls_never_overlap_nor_start_on_the_hour(start: float, draw: float, lengths: list[float]) -> None:
    """And none starts much later than it is due."""
    run = play(start + 30 * HOUR, start=start, draw=draw, poll=lambda number: lengths[number % len(lengths)])
    for began in run.began[1:]:
        assert 0.04 * HOUR < began % HOUR < 0.96 * HOUR
    for ended, (before, after) in zip(run.ended, pairwise(run.began), strict=False):
        assert after >= ended
        assert after - before >= 0.49 * HOUR
        assert after - max(ended, before + HOUR / 2) <= HOUR + 1


def test_a_long_poll_leaves_out_the_next_ones() -> None:
    """A poll that takes longer than its interval leaves out those that it overlaps, with a notice."""
    run = play(8 * HOUR, draw=0.5, poll=lambda number: 2.5 * HOUR if number == 1 else 1.0)
    assert run.began == pytest.approx([0, 1.5 * HOUR, 4.5 * HOUR, 5.5 * HOUR, 6.5 * HOUR, 7.5 * HOUR], abs=1e-3)
    assert run.outcome == LoopStats(polls=6, skipped=2)
    assert run.notices == ["The poll took 9000 s, longer than its interval: 2 left out."]


def test_an_unavailable_service_does_not_end_the_loop() -> None:
    """It is asked again an interval later."""
    away = {1: ServiceFailing("It kept failing."), 2: BudgetUnavailable("The store is away.")}
    run = play(4.9 * HOUR, draw=0.5, poll=lambda number: away.get(number, 1.0))
    assert run.outcome == LoopStats(polls=3, failed=2)
    assert ["It kept failing." in run.notices[0], "The store is away." in run.notices[1]] == [True, True]


@pytest.mark.parametrize("kind", [UsageError, ServiceRefused, LocalFailure, DamagedState, Interrupted])
def test_other_errors_end_the_loop(kind: type[BulkExportError]) -> None:
    """Also after many polls went well: a token that was withdrawn is not tried again every hour."""
    with pytest.raises(ExceptionGroup) as ended:
        play(10 * HOUR, poll=lambda number: kind("No further.") if number == 3 else 1.0)
    assert ended.group_contains(kind, match="No further")


def test_a_signal_between_polls_ends_the_loop() -> None:
    """It ends at once and without an error."""
    run = play(2 * HOUR, draw=0.5)
    assert run.over == pytest.approx(2 * HOUR, abs=1e-3)
    assert run.outcome == LoopStats(polls=2)


def test_a_clock_set_back_delays_little() -> None:
    """The next poll is at most an interval and a half later."""
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


def sync_options(it: Scene, **changes: Any) -> SyncOptions:
    chosen = {"base_url": it.url, "token": TOKEN, "output": it.directory, "format": "parquet", "retries": 0, **FREE}
    return SyncOptions.of([NAME], **chosen | changes)


class DaemonReports:
    """What a daemon reports, and an event for the next report."""

    def __init__(self) -> None:
        self.polls: list[SyncSummary] = []
        self.notices: list[str] = []
        self.polled, self.noticed = anyio.Event(), anyio.Event()

    def report(self, summary: SyncSummary) -> None:
        self.polls.append(summary)
        self.polled.set()

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self.noticed.set()


@asynccontextmanager
async def daemon(chosen: SyncOptions) -> AsyncIterator[DaemonReports]:
    """One that polls hourly while the block lasts, and then ends as a signal ends it."""
    reports, stop, ended = DaemonReports(), anyio.Event(), []

    async def run() -> None:
        with pytest.raises(Interrupted):
            await sync_forever(chosen, 3_600, stop=stop, report=reports.report, notice=reports.notice)
        ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        yield reports
        stop.set()
    assert ended


async def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    """It is refused at once. A sync by hand between two polls is not."""
    async with scene(tmp_path, people=3) as it:
        async with daemon(sync_options(it)) as reports:
            await reports.polled.wait()
            with pytest.raises(DirectoryInUse, match=r"keeps the copy .* current") as refused:
                await sync_forever(
                    sync_options(it), 60, stop=anyio.Event(), report=reports.report, notice=reports.notice
                )
            assert refused.value.exit_code == 2
            await sync_once(sync_options(it))
            # It held on, and what the sync by hand cleared away was not its lock.
            with pytest.raises(DirectoryInUse):
                await sync_forever(
                    sync_options(it), 60, stop=anyio.Event(), report=reports.report, notice=reports.notice
                )
        assert len(reports.polls) == 1
        assert not (it.directory / ".bulk-export").exists()


async def test_a_due_poll_waits_for_a_sync_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_LOCK_INTERVAL", 0.01)
    async with scene(tmp_path, people=3) as it:
        it.directory.mkdir(parents=True)
        (it.directory / ".bulk-export").mkdir()
        with locked_directory(it.directory):
            context = daemon(sync_options(it))
            reports = await context.__aenter__()
            await reports.noticed.wait()
            assert not reports.polls
        await reports.polled.wait()
        await context.__aexit__(None, None, None)
        assert reports.notices == [f"Another sync is under way in {it.directory}; this one follows it."]
        assert it.rows().keys() == {"p00000", "p00001", "p00002"}


async def test_a_sync_by_hand_during_a_poll_is_refused(tmp_path: Path) -> None:
    """It is refused at once."""
    async with scene(tmp_path, people=3) as it:
        begun, refused = anyio.Event(), anyio.Event()
        plain: Callable[..., Any] = sync_once

        async def slow(*arguments: Any) -> None:
            begun.set()
            await refused.wait()
            raise Interrupted("Stopped.")

        async def poll() -> None:
            with pytest.raises(Interrupted):
                await plain(sync_options(it), extract=slow)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await begun.wait()
            with pytest.raises(DirectoryInUse, match="Another process"):
                await sync_once(sync_options(it))
            refused.set()


async def test_removals_are_accepted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--accept-removals is for the first poll only."""
    accepted: list[bool] = []

    async def noted(chosen: SyncOptions, *_: object, **__: object) -> SyncSummary:
        accepted.append(chosen.accepts_removals)
        if len(accepted) == 2:
            stop.set()
        return SyncSummary([])

    async def twice(_every: float, poll: Callable[[], Any], **_: object) -> None:
        await poll()
        await poll()

    stop = anyio.Event()
    monkeypatch.setattr(monitored, "sync_once", noted)
    monkeypatch.setattr(loop, "run_periodically", twice)
    async with scene(tmp_path) as it:
        with pytest.raises(Interrupted):
            await sync_forever(
                sync_options(it, accept_removals=True), 60, stop=stop, report=lambda _: None, notice=lambda _: None
            )
    assert accepted == [True, False]
