"""A poll of which other systems learn: metrics, lineage and spans of one call of `sync_once`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import anyio

from bulk_export.pipelines.lineage import Dataset, export_inputs, place_of, recorded
from bulk_export.pipelines.metrics import measured, sync_samples
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.pipelines.tracing import traced
from bulk_export.progress.observer import Observer


async def monitored_sync(
    options: SyncOptions,
    observer: Observer | None,
    *,
    stop: anyio.Event | None,
    report: Callable[[SyncSummary], None],
    every: timedelta | None = None,
) -> SyncSummary:
    """Bring the copy up to date, and report to where `options` say.

    Args:
        options: What to keep current, and where.
        observer: Receives the events of each export.
        stop: When it is set, pages on their way are kept and Interrupted is raised.
        report: Is called with the summary of the polls.
        every: The time between two calls, if it is known.

    Returns:
        The summary of the polls.

    Raises:
        BulkExportError: As for `sync_once`; or the lineage cannot be begun.
    """
    full = options.full
    done = f"The copy in {options.output if options.remote is None else options.remote} is current."
    async with (
        traced("sync", observer or Observer(), enabled=options.otel) as watching,
        recorded(options.lineage, f"sync.{full.service.name}", export_inputs(full), watching.not_delivered) as record,
        measured(options.metrics, "sync", result=done, warned=watching.warned) as measure,
    ):
        summary = await sync_once(options, watching, stop=stop, every=every, report=report)
        measure(sync_samples(summary))
        record(sync_outputs(options, summary))
    return summary


def sync_outputs(options: SyncOptions, summary: SyncSummary) -> list[Dataset]:
    """The tables of a copy, with the number of rows that the polls changed."""
    namespace, folder = place_of(options.output if options.remote is None else str(options.remote))
    changes: dict[str, int] = {}
    for poll in summary.polls:
        for name, table in poll.tables.items():
            changes[name] = changes.get(name, 0) + table.counts.changes
    return [Dataset(namespace, f"{folder}/{name}", rows=count) for name, count in changes.items()]
