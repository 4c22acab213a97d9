"""Keeps a copy current: a poll once an interval, at an offset drawn at random, until the process is stopped."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.compat.directories import close_lock, open_lock
from bulk_export.core.files import local_failures
from bulk_export.errors import (
    BudgetUnavailable,
    BulkExportError,
    DirectoryInUse,
    Interrupted,
    ServiceFailing,
)
from bulk_export.output.directory import inspect_output, prepare_output
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.pipelines.metrics import check_metrics
from bulk_export.pipelines.sync.load_after_poll import Loaded, load_copy
from bulk_export.pipelines.sync.monitored import monitored_sync
from bulk_export.pipelines.sync.open_copy import holds_copy
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.progress.observer import Observer

logger = logging.getLogger(__name__)

# The part of an interval at either end in which no poll starts: the service asks not to be polled on the hour.
_MARGIN = 0.05
# A clock that was set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 30.0
# Seconds between two looks whether a sync by hand has finished.
_LOCK_INTERVAL = 2.0
# The lock of the process that polls once an interval, in the working directory.
_DAEMON_LOCK = "daemon.lock"


@dataclass(frozen=True, slots=True)
class LoopStats:
    """How many polls succeeded, how many failed, and how many were left out because one was still running."""

    polls: int = 0
    failed: int = 0
    skipped: int = 0


async def sync_forever(
    options: SyncOptions,
    every: float,
    observer: Observer | None = None,
    *,
    stop: anyio.Event,
    report: Callable[[SyncSummary], None],
    notice: Callable[[str], None],
    loaded: Loaded = lambda _: None,
) -> None:
    """Bring the copy up to date once in each interval, at a random offset.

    Args:
        options: What to keep current, and where. Its `accepts_removals` is for the first poll only.
        every: The interval in seconds.
        observer: Receives the events of each export.
        stop: Ends the loop: after the responses in flight are stored, or at once between two polls.
        report: Is called after each poll that succeeded.
        notice: Called with a message for each poll that failed because the service or the ledger was unavailable, and
            for each load that failed.
        loaded: Is called with the summary of each load into a database.

    Raises:
        DirectoryInUse: Another process does the same.
        Interrupted: `stop` was set.
        BulkExportError: A poll failed for a reason that only a person can mend.
    """
    await check_metrics(options.metrics, options.output)
    if not holds_copy(options.output):
        inspect_output(options.output)
    await anyio.to_thread.run_sync(prepare_output, options.output)
    syncing = _PeriodicSync(options, timedelta(seconds=every), observer, stop, report, notice, loaded)
    with _daemon_lock(options.output / WORKING_DIRECTORY):
        await run_periodically(every, syncing.poll, clock=time.time, random=random.random, stop=stop, notice=notice)
    raise Interrupted(
        "Stopped.",
        kept=f"The copy in {options.output} is as the last poll left it.",
        next_step="The same command goes on.",
    )


async def run_periodically(
    every: float,
    poll: Callable[[], Awaitable[None]],
    *,
    clock: Callable[[], float],
    random: Callable[[], float],
    stop: anyio.Event,
    notice: Callable[[str], None],
) -> LoopStats:
    """Poll at once, then once in each interval, until `stop` is set between two polls.

    1. The offset within the interval is drawn once. Drawn for each poll, it could put two almost two intervals apart.
    2. If a poll takes longer than its interval, the next ones are left out: there are never two at once.
    3. A service or ledger that is unavailable does not end the loop, since the next poll covers what this one missed.
       Any other error does, since only a person can mend its cause.

    Args:
        every: The interval in seconds. Intervals count from the epoch.
        poll: Makes one poll. If `stop` is set while it runs, it has to return or raise soon.
        clock: Seconds since the epoch.
        random: Numbers from 0 to 1.
        stop: Ends the loop.
        notice: Called with a message for each poll that failed or was left out.

    Raises:
        BulkExportError: A poll failed for another reason than an unavailable service or ledger.
    """
    offset = every * (_MARGIN + (1 - 2 * _MARGIN) * random())
    polls = failed = skipped = 0
    while not stop.is_set():
        began = clock()
        try:
            await poll()
        except (ServiceFailing, BudgetUnavailable) as error:
            failed += 1
            logger.warning("Poll failed: %s", type(error).__name__)
            notice(f"This poll failed: {error.what} The next one covers what it missed.")
        else:
            polls += 1
        ended = clock()
        # The first poll came when the process started, anywhere in an interval: keep half an interval from it.
        due = _next(began + every / 2, every, offset)
        late = max(0, math.ceil((ended - due) / every))
        if late:
            skipped += late
            due += late * every
            notice(f"The poll took {ended - began:.0f} s, longer than its interval: {late} left out.")
        await _until(due, every, clock, stop)
    return LoopStats(polls, failed, skipped)


def _next(after: float, every: float, offset: float) -> float:
    """The first instant after `after` that is `offset` seconds into an interval."""
    return (math.floor((after - offset) / every) + 1) * every + offset


async def _until(due: float, every: float, clock: Callable[[], float], stop: anyio.Event) -> None:
    """Wait until `due` or until `stop` is set. If the clock is set back, wait an interval and a half at most."""
    while (now := clock()) < due:
        due = min(due, now + every * 1.5)
        with anyio.move_on_after(min(_LONGEST_SLEEP, due - now)):
            await stop.wait()
        if stop.is_set():
            return


@dataclass(slots=True)
class _PeriodicSync:
    """Makes the polls of a loop, each after any sync by hand that holds the copy."""

    options: SyncOptions
    every: timedelta
    observer: Observer | None
    stop: anyio.Event
    report: Callable[[SyncSummary], None]
    notice: Callable[[str], None]
    loaded: Loaded
    is_waiting: bool = False

    async def poll(self) -> None:
        """Make one poll as soon as the copy is free; none if `stop` is set before."""
        while not self.stop.is_set():
            try:
                await self._poll()
            except DirectoryInUse:
                if not self.is_waiting:
                    self.is_waiting = True
                    self.notice(f"Another sync is under way in {self.options.output}; this one follows it.")
                with anyio.move_on_after(_LOCK_INTERVAL):
                    await self.stop.wait()
                continue
            self.is_waiting = False
            await self._load()
            # --accept-removals is for one poll.
            self.options = replace(self.options, accepts_removals=False)
            return

    async def _poll(self) -> None:
        await monitored_sync(self.options, self.observer, stop=self.stop, every=self.every, report=self.report)

    async def _load(self) -> None:
        """Load the copy into its database. A load that fails does not end the loop, since the next makes up for it."""
        try:
            await load_copy(self.options, self.loaded)
        except BulkExportError as error:
            self.notice(f"The load failed: {error.what} {error.kept}")


@contextmanager
def _daemon_lock(working: Path) -> Iterator[None]:
    """Hold the lock of the process that polls once an interval, between two polls, too.

    Raises:
        DirectoryInUse: Another process holds it.
        LocalFailure: It cannot be created or locked.
    """
    path = working / _DAEMON_LOCK
    descriptor = _lock(path)
    try:
        yield
    finally:
        close_lock(path, descriptor)
        with suppress(OSError):
            working.rmdir()


def _lock(path: Path) -> int:
    with local_failures(f"Locking {path}"):
        try:
            return open_lock(path)
        except BlockingIOError:
            raise DirectoryInUse(
                f"Another process keeps the copy in {path.parent.parent} current.",
                next_step="Stop that one first, or choose another --output.",
            ) from None
