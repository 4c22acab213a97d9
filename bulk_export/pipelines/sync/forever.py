"""Keeps a copy current until it is told to stop."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.files import local_failures
from bulk_export.errors import DirectoryInUse, Interrupted, LocalFailure
from bulk_export.output.directory import inspect_output, prepare_output
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.pipelines.sync.copy_safety import holds_copy
from bulk_export.pipelines.sync.loop import repeat
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import DAEMON_LOCK, SyncSummary, sync_once
from bulk_export.progress.observer import Observer

# How often to look whether a sync by hand is done.
_PATIENCE = 2.0


async def keep_current(
    options: SyncOptions,
    every: float,
    observer: Observer | None = None,
    *,
    stop: anyio.Event,
    report: Callable[[SyncSummary], None],
    notice: Callable[[str], None],
) -> None:
    """Poll once in each period of `every` seconds, at a random offset, and `report` each poll that succeeded.

    A poll that fails because the service or the budget is away is told to `notice`; any other error is raised. One that
    finds a sync by hand under way waits until that is done. A second process that would do the same is refused:
    DirectoryInUse. When `stop` is set, Interrupted is raised, after the page in hand or at once where no poll is under
    way.
    """
    asked = options

    async def poll() -> None:
        nonlocal asked
        while not stop.is_set():
            try:
                await sync_once(asked, observer, stop=stop, every=timedelta(seconds=every), report=report)
            except DirectoryInUse:
                if not waits_said:
                    waits_said.append(True)
                    notice(f"Another sync is under way in {options.output}; this one follows it.")
                with anyio.move_on_after(_PATIENCE):
                    await stop.wait()
                continue
            waits_said.clear()
            # Such a word is for once.
            asked = replace(asked, accepts_removals=False)
            return

    waits_said: list[bool] = []
    if not holds_copy(options.output):
        inspect_output(options.output)
    await anyio.to_thread.run_sync(prepare_output, options.output)
    with _alone(options.output / WORKING_DIRECTORY):
        await repeat(every, poll, clock=time.time, random=random.random, stop=stop, notice=notice)
    raise Interrupted(
        "Stopped.",
        kept=f"The copy in {options.output} is as the last poll left it.",
        next_step="The same command goes on.",
    )


@contextmanager
def _alone(working: Path) -> Iterator[None]:
    """Hold the lock of those that poll at intervals, also between two polls. Raises DirectoryInUse or LocalFailure."""
    path = working / DAEMON_LOCK
    descriptor = _locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
            working.rmdir()
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        with local_failures(f"Opening {path}"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one that held it may have removed it in between.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise LocalFailure(f"{path} cannot be locked: {error.strerror}.") from None
            raise DirectoryInUse(
                f"Another process keeps the copy in {path.parent.parent} current.",
                next_step="Stop that one first, or choose another --output.",
            ) from None
        os.close(descriptor)
