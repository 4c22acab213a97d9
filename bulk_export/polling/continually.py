"""Keeps a copy current until it is told to stop."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import anyio

from bulk_export.errors import Interrupted
from bulk_export.polling.once import SyncSummary, sync_once
from bulk_export.polling.sync_options import SyncOptions
from bulk_export.progress.observer import Observer
from bulk_export.repeat import repeat


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

    A poll that fails because the service or the budget is away is told to `notice`; any other error is raised. When
    `stop` is set, Interrupted is raised, after the page in hand or at once where no poll is under way.
    """

    async def poll() -> None:
        report(await sync_once(options, observer, stop=stop))

    await repeat(every, poll, clock=time.time, random=random.random, stop=stop, notice=notice)
    raise Interrupted(
        "Stopped.",
        kept=f"The copy in {options.output} is as the last poll left it.",
        next_step="The same command goes on.",
    )
