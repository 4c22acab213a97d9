"""A process that polls at intervals, beside others in the same directory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulk_export.core.files import locked_directory
from bulk_export.errors import DirectoryInUse, Interrupted
from bulk_export.pipelines.sync import loop
from bulk_export.pipelines.sync.loop import sync_forever
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import SyncSummary
from tests.support.copy_scene import NAME, Scene, scene
from tests.support.exporting import FREE, TOKEN


def options(it: Scene, **changes: Any) -> SyncOptions:
    chosen = {"base_url": it.url, "token": TOKEN, "output": it.directory, "format": "parquet", "retries": 0, **FREE}
    return SyncOptions.of([NAME], **chosen | changes)


class Told:
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
async def daemon(chosen: SyncOptions) -> AsyncIterator[Told]:
    """One that polls hourly while the block lasts, and then ends as a signal ends it."""
    told, stop, ended = Told(), anyio.Event(), []

    async def run() -> None:
        with pytest.raises(Interrupted):
            await sync_forever(chosen, 3_600, stop=stop, report=told.report, notice=told.notice)
        ended.append(True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        yield told
        stop.set()
    assert ended


async def test_a_second_daemon_is_refused_at_once_and_a_sync_between_two_polls_is_not(tmp_path: Path) -> None:
    async with scene(tmp_path, people=3) as it:
        async with daemon(options(it)) as told:
            await told.polled.wait()
            with pytest.raises(DirectoryInUse, match=r"keeps the copy .* current") as refused:
                await sync_forever(options(it), 60, stop=anyio.Event(), report=told.report, notice=told.notice)
            assert refused.value.exit_code == 2
            await sync_once(options(it))
            # It held on, and what the sync by hand cleared away was not its lock.
            with pytest.raises(DirectoryInUse):
                await sync_forever(options(it), 60, stop=anyio.Event(), report=told.report, notice=told.notice)
        assert len(told.polls) == 1
        assert not (it.directory / ".bulk-export").exists()


async def test_a_poll_that_is_due_during_a_sync_by_hand_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_LOCK_INTERVAL", 0.01)
    async with scene(tmp_path, people=3) as it:
        it.directory.mkdir(parents=True)
        (it.directory / ".bulk-export").mkdir()
        with locked_directory(it.directory):
            context = daemon(options(it))
            told = await context.__aenter__()
            await told.noticed.wait()
            assert not told.polls
        await told.polled.wait()
        await context.__aexit__(None, None, None)
        assert told.notices == [f"Another sync is under way in {it.directory}; this one follows it."]
        assert it.rows().keys() == {"p00000", "p00001", "p00002"}


async def test_a_sync_by_hand_during_a_poll_is_refused_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path, people=3) as it:
        begun, refused = anyio.Event(), anyio.Event()
        plain: Callable[..., Any] = sync_once

        async def slow(*arguments: Any) -> None:
            begun.set()
            await refused.wait()
            raise Interrupted("Stopped.")

        async def poll() -> None:
            with pytest.raises(Interrupted):
                await plain(options(it), extract=slow)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(poll)
            await begun.wait()
            with pytest.raises(DirectoryInUse, match="Another process"):
                await sync_once(options(it))
            refused.set()


async def test_removals_are_accepted_for_the_first_poll_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(loop, "sync_once", noted)
    monkeypatch.setattr(loop, "run_periodically", twice)
    async with scene(tmp_path) as it:
        with pytest.raises(Interrupted):
            await sync_forever(
                options(it, accept_removals=True), 60, stop=stop, report=lambda _: None, notice=lambda _: None
            )
    assert accepted == [True, False]
