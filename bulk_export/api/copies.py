"""Copies that are kept current, and loads of exports and copies into databases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Unpack

import anyio

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.api.event_loop import run
from bulk_export.api.option_help import shows_options
from bulk_export.api.watching import watcher
from bulk_export.pipelines.arguments import SyncArguments
from bulk_export.pipelines.choices import Display
from bulk_export.pipelines.load import LoadSummary
from bulk_export.pipelines.load import load as load_tables
from bulk_export.pipelines.load_arguments import LoadArguments
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.load_transaction import LoadProgress
from bulk_export.pipelines.remote_descriptions import with_fetched_service
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.loop import sync_forever
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.progress.events import ProgressEvent
from bulk_export.progress.observer import Observer
from bulk_export.progress.run_words import SYNC


@checks_arguments
@shows_options(SyncArguments)
async def sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    report: Callable[[SyncSummary], None] | None = None,
    **options: Unpack[SyncArguments],
) -> SyncSummary:
    """Bring the copy in `output` up to date, once or, with `every`, again and again until `stop` is set.

    Args:
        *names: Names of endpoints; with those in `endpoints`, all that are copied. All of the service that identify
            their records if there are none.
        endpoints: More names.
        observer: Is notified of what happens, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with each event, and must return soon. If it raises, the run goes on
            without it.
        stop: Interrupts the poll, or the wait for the next one, when it is set.
        report: Is called after each time that polls were made.
        **options: The options of `bulk-export sync` with underscores, and `token`.

    Returns:
        What the polls did.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        Interrupted: `stop` was set.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    watching = watcher(observer, progress, on_progress, SYNC)
    resolved = SyncOptions.of([*names, *endpoints], **await with_fetched_service(options))
    notify = report or (lambda _: None)
    if resolved.every is not None:  # ends only by raising
        await sync_forever(
            resolved, resolved.every, watching, stop=stop or anyio.Event(), report=notify, notice=watching.warned
        )
    return await sync_and_load(resolved, watching, stop=stop, report=notify, loaded=lambda _: None)


@checks_arguments
@shows_options(SyncArguments)
def run_sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    report: Callable[[SyncSummary], None] | None = None,
    **options: Unpack[SyncArguments],
) -> SyncSummary:
    """Run `sync` in a program without an event loop."""
    return run(
        "sync",
        lambda: sync(
            *names,
            endpoints=endpoints,
            observer=observer,
            progress=progress,
            on_progress=on_progress,
            report=report,
            **options,
        ),
    )


@checks_arguments
@shows_options(LoadArguments)
def load(
    directory: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    progress: LoadProgress | None = None,
    **options: Unpack[LoadArguments],
) -> LoadSummary:
    """Load a finished export or a copy into a database, in one transaction. Blocks until it is done.

    Args:
        directory: The finished export or the copy: a directory, or the address of an export in an object store.
        *names: Names of endpoints; with those in `endpoints`, all that are loaded. All of the directory if there are
            none.
        endpoints: More names.
        progress: Is notified of what happens.
        **options: The options of `bulk-export load` with underscores.

    Returns:
        What was done, table by table.

    Raises:
        UsageError: An option cannot be used as given, or a table cannot be changed as it would have to be.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: Anything else; see `bulk_export.errors`. Nothing was changed at the destination.

    Example:
        load("/data/npq", to="duckdb:///data/npq.duckdb")
    """
    return load_tables(LoadOptions.of(directory, [*names, *endpoints], **options), progress)
