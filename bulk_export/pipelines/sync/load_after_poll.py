"""Loads into a database what a poll changed, in the same run (`sync --load`).

The database records which version of each table it holds, so a load that fails or is killed is made up for by the next
one, and nothing is noted here.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from bulk_export.errors import BulkExportError, RemovalRefused
from bulk_export.pipelines.load import LoadSummary, load
from bulk_export.pipelines.metrics import check_metrics
from bulk_export.pipelines.sync.monitored import monitored_sync
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.progress.observer import Observer

Loaded = Callable[[LoadSummary], None]


async def sync_and_load(
    options: SyncOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    report: Callable[[SyncSummary], None],
    loaded: Loaded,
) -> SyncSummary:
    """Bring the copy up to date, then the database if there is one.

    Args:
        options: What to keep current, and where.
        observer: Receives the events of each export.
        stop: When it is set, pages on their way are kept and Interrupted is raised.
        report: Is called with the summary of the polls.
        loaded: Is called with the summary of the load.

    Returns:
        The summary of the polls.

    Raises:
        BulkExportError: As for `sync_once` and `load_copy`. If removals were refused, all else is loaded first.
    """
    await check_metrics(options.metrics, options.output)
    try:
        summary = await monitored_sync(options, observer, stop=stop, report=report)
    except RemovalRefused:
        await load_copy(options, loaded)
        raise
    await load_copy(options, loaded)
    return summary


async def load_copy(options: SyncOptions, loaded: Loaded) -> None:
    """Load the copy into its database, if it has one.

    Args:
        options: The copy.
        loaded: Is called with the summary.

    Raises:
        BulkExportError: The load failed. The copy is current, and the next load makes up for it.
    """
    if options.load is None:
        return
    try:
        loaded(await anyio.to_thread.run_sync(load, options.load))
    except BulkExportError as error:
        error.kept = f"The copy in {options.output} is current, and the next poll loads what is missing."
        raise
