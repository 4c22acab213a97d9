"""Exports, outputs from kept pages, and streams of records."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Unpack

import anyio
import anyio.to_thread
import pyarrow as pa

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.api.event_loop import run
from bulk_export.api.option_help import shows_options
from bulk_export.api.watching import watcher
from bulk_export.core.locations import local_path
from bulk_export.output.object_store.reading import opened_archive
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.arguments import ExportArguments, ReplayArguments, TokenArguments
from bulk_export.pipelines.choices import Display
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import is_address, with_fetched_service
from bulk_export.pipelines.replay import replay as replay_pages
from bulk_export.pipelines.replay_options import ReplayOptions, refuse_own_output
from bulk_export.pipelines.resume import arguments_to_resume
from bulk_export.pipelines.stream import stream_batches
from bulk_export.progress.events import ProgressEvent
from bulk_export.progress.observer import ExportSummary, Observer


@checks_arguments
@shows_options(ExportArguments)
async def export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    **options: Unpack[ExportArguments],
) -> ExportSummary:
    """Export endpoints into a directory, or go on with an interrupted export of the same options.

    Args:
        *names: Names of endpoints; with those in `endpoints`, all that are exported. All of the service if there
            are none.
        endpoints: More names.
        observer: Is notified of what happens, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with each event, and must return soon. If it raises, the run goes on
            without it.
        stop: Interrupts the export when it is set.
        **options: The options of `bulk-export export` with underscores, and `token`.

    Returns:
        What was exported, in numbers.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        Interrupted: `stop` was set. The same call goes on.
        BulkExportError: Anything else; see `bulk_export.errors`.

    Example:
        summary = await bulk_export.export("statements", base_url=url, output="out", page_size=3000)
    """
    resolved = ExportOptions.of([*names, *endpoints], **await with_fetched_service(options))
    return await pipeline.export(resolved, watcher(observer, progress, on_progress), stop=stop)


@checks_arguments
@shows_options(ExportArguments)
def run_export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    **options: Unpack[ExportArguments],
) -> ExportSummary:
    """Run `export` in a program without an event loop."""
    return run(
        "export",
        lambda: export(
            *names, endpoints=endpoints, observer=observer, progress=progress, on_progress=on_progress, **options
        ),
    )


@checks_arguments
@shows_options(TokenArguments)
async def resume(
    directory: str | os.PathLike[str],
    *,
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    **options: Unpack[TokenArguments],
) -> ExportSummary:
    """Go on with an unfinished export by its directory: it says how the export was begun, except for the token.

    Args:
        directory: The directory of the export.
        observer: Is notified of what happens, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with each event, and must return soon. If it raises, the run goes on
            without it.
        stop: Interrupts the export when it is set.
        **options: `token` or `token_file`, if the token is in neither the environment nor the file named before.

    Returns:
        What was exported, in numbers.

    Raises:
        UsageError: There is no unfinished export, or it does not say how it was begun.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        DamagedState: What it says cannot be used.
        Interrupted: `stop` was set. The same call goes on.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    given = with_defaults(TokenArguments, options)
    endpoints, kept = await anyio.to_thread.run_sync(arguments_to_resume, local_path(directory, "resume"))
    chosen = {name: value for name, value in given.items() if value is not None}
    resolved = ExportOptions.of(endpoints, **await with_fetched_service({**kept, **chosen}))
    return await pipeline.export(resolved, watcher(observer, progress, on_progress), stop=stop)


@checks_arguments
@shows_options(TokenArguments)
def run_resume(
    directory: str | os.PathLike[str],
    *,
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    **options: Unpack[TokenArguments],
) -> ExportSummary:
    """Run `resume` in a program without an event loop."""
    return run(
        "resume",
        lambda: resume(directory, observer=observer, progress=progress, on_progress=on_progress, **options),
    )


@checks_arguments
@shows_options(ReplayArguments)
async def replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    **options: Unpack[ReplayArguments],
) -> ExportSummary:
    """Make another output from the pages that an export with `keep_pages` left. Nothing is sent.

    Args:
        archive: The export that kept its pages, as a directory or an address, or its `pages.sqlite`.
        *names: Names of endpoints; with those in `endpoints`, all that are converted. All of the archive if there
            are none.
        endpoints: More names.
        observer: Is notified of what happens, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with each event, and must return soon. If it raises, the run goes on
            without it.
        stop: Interrupts the replay when it is set.
        **options: The options of `bulk-export replay` with underscores.

    Returns:
        What was written, in numbers.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        Interrupted: `stop` was set. The same call goes on.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    given = await with_fetched_service(options)
    async with _opened_archive(archive) as pages:
        resolved = ReplayOptions.of(pages, [*names, *endpoints], **given)
        refuse_own_output(archive, resolved)
        return await replay_pages(resolved, watcher(observer, progress, on_progress), stop=stop)


@checks_arguments
@shows_options(ReplayArguments)
def run_replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: Display = "none",
    on_progress: Callable[[ProgressEvent], object] | None = None,
    **options: Unpack[ReplayArguments],
) -> ExportSummary:
    """Run `replay` in a program without an event loop."""
    return run(
        "replay",
        lambda: replay(
            archive,
            *names,
            endpoints=endpoints,
            observer=observer,
            progress=progress,
            on_progress=on_progress,
            **options,
        ),
    )


@asynccontextmanager
async def _opened_archive(archive: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Open kept pages without blocking the event loop."""
    with ExitStack() as stack:
        yield await anyio.to_thread.run_sync(lambda: stack.enter_context(opened_archive(archive)))


@checks_arguments
@shows_options(ExportArguments)
def stream(
    endpoint: str,
    *,
    observer: Observer | None = None,
    on_progress: Callable[[ProgressEvent], object] | None = None,
    **options: Unpack[ExportArguments],
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the records of one endpoint as record batches, in page order, each id once, without any file.

    Nothing is opened before the first batch is asked for. When the generator is closed, its requests end, its
    connections are closed, and no task is left. Leave an iteration early inside `contextlib.aclosing`, which waits for
    that; after a mere `break` it happens soon after the generator is out of use.

    Args:
        endpoint: Name of the endpoint.
        observer: Is notified of what happens.
        on_progress: Is called on the event loop with each event, and must return soon. If it raises, the run goes on
            without it.
        **options: As for `export`; those about files have no effect.

    Yields:
        Record batches with the columns that a Parquet file of the endpoint would have.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: Anything else, while iterating; see `bulk_export.errors`.

    Example:
        async with aclosing(bulk_export.stream("statements", base_url=url)) as batches:
            async for batch in batches:
                print(batch.num_rows)
    """
    watching = watcher(observer or Observer(), "none", on_progress)
    service = options.get("service")
    if isinstance(service, str) and is_address(service):
        return _stream_of_fetched(endpoint, watching, options)
    return stream_batches(ExportOptions.of([endpoint], **options), watching)


async def _stream_of_fetched(
    endpoint: str, observer: Observer | None, options: ExportArguments
) -> AsyncGenerator[pa.RecordBatch, None]:
    resolved = ExportOptions.of([endpoint], **await with_fetched_service(options))
    async with aclosing(stream_batches(resolved, observer)) as batches:
        async for batch in batches:
            yield batch
