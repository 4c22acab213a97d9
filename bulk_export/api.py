"""The functions for Python programs, with the options of the command line as keyword arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Unpack

import anyio
import anyio.to_thread
import pyarrow as pa

from bulk_export.output.object_store.reading import opened_archive
from bulk_export.output.object_store.url import StoreUrl, parse_location
from bulk_export.output.object_store.verify import verify_url
from bulk_export.output.verify import Verification
from bulk_export.output.verify import verify as verify_directory
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.arguments import (
    ExportArguments,
    ReplayArguments,
    SyncArguments,
)
from bulk_export.pipelines.doctor import Finding, diagnose
from bulk_export.pipelines.head import first_records, head_options
from bulk_export.pipelines.inspection_arguments import DoctorArguments, HeadArguments
from bulk_export.pipelines.load import LoadSummary
from bulk_export.pipelines.load import load as load_tables
from bulk_export.pipelines.load_arguments import LoadArguments
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.load_transaction import LoadProgress
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import is_address, with_fetched_service
from bulk_export.pipelines.replay import replay as replay_pages
from bulk_export.pipelines.replay_options import ReplayOptions, refuse_own_output
from bulk_export.pipelines.report import ReportSummary, write_report
from bulk_export.pipelines.report_arguments import ReportArguments
from bulk_export.pipelines.stream import stream_batches
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.loop import sync_forever
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.progress import choose
from bulk_export.progress.console import Console
from bulk_export.progress.observer import ExportSummary, Observer


async def export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
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
        stop: Interrupts the export when it is set.
        **options: The options of `bulk-export export` with underscores, and `token`.

    Returns:
        What was exported, in numbers.

    Raises:
        UsageError: An option cannot be used as given.
        TypeError: An option is unknown.
        Interrupted: `stop` was set. The same call goes on.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    resolved = ExportOptions.of([*names, *endpoints], **await with_fetched_service(options))
    return await pipeline.export(resolved, observer or choose(progress, Console(sys.stderr)), stop=stop)


def run_export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    **options: Unpack[ExportArguments],
) -> ExportSummary:
    """Run `export` in a program without an event loop."""
    return anyio.run(lambda: export(*names, endpoints=endpoints, observer=observer, progress=progress, **options))


async def replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
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
        stop: Interrupts the replay when it is set.
        **options: The options of `bulk-export replay` with underscores.

    Returns:
        What was written, in numbers.

    Raises:
        UsageError: An option cannot be used as given.
        TypeError: An option is unknown.
        Interrupted: `stop` was set. The same call goes on.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    given = await with_fetched_service(options)
    async with _opened_archive(archive) as pages:
        resolved = ReplayOptions.of(pages, [*names, *endpoints], **given)
        refuse_own_output(archive, resolved)
        return await replay_pages(resolved, observer or choose(progress, Console(sys.stderr)), stop=stop)


def run_replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    **options: Unpack[ReplayArguments],
) -> ExportSummary:
    """Run `replay` in a program without an event loop."""
    return anyio.run(
        lambda: replay(archive, *names, endpoints=endpoints, observer=observer, progress=progress, **options)
    )


def verify(export: str | os.PathLike[str], *, quick: bool = False) -> Verification:
    """Compare a finished export with its manifest: sizes, hashes and row counts, and files that it does not name.

    Args:
        export: The directory of the export, or its address in an object store.
        quick: Whether to read no file: sizes, and the ETags of an object store, have to suffice.

    Returns:
        What was verified, in numbers.

    Raises:
        VerificationFailed: The export differs from its manifest. The message names the differences.
        DamagedState: There is no usable manifest.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    location = parse_location(export)
    if isinstance(location, StoreUrl):
        return verify_url(location, quick=quick)
    return verify_directory(location, quick=quick)


@asynccontextmanager
async def _opened_archive(archive: str | os.PathLike[str]) -> AsyncIterator[Path]:
    """Open kept pages without blocking the event loop."""
    with ExitStack() as stack:
        yield await anyio.to_thread.run_sync(lambda: stack.enter_context(opened_archive(archive)))


def report(directory: str | os.PathLike[str], **options: Unpack[ReportArguments]) -> ReportSummary:
    """Write what is known of a finished export or of a copy into one HTML file, for people to look at.

    Args:
        directory: The finished export, or the copy that `sync` keeps.
        **options: The options of `bulk-export report`.

    Returns:
        The file, and what the report says first.

    Raises:
        UsageError: There is no such directory, or something else has the name of the report.
        TypeError: An option is unknown.
        DamagedState: There is no finished export, or what is known of it cannot be used.
        LocalFailure: It cannot be read or written.

    Example:
        report("/data/npq", output="npq.html")
    """
    return write_report(directory, **options)


async def sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
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
        stop: Interrupts the poll, or the wait for the next one, when it is set.
        report: Is called after each time that polls were made.
        **options: The options of `bulk-export sync` with underscores, and `token`.

    Returns:
        What the polls did.

    Raises:
        UsageError: An option cannot be used as given.
        TypeError: An option is unknown.
        Interrupted: `stop` was set.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    watching = observer or choose(progress, Console(sys.stderr))
    resolved = SyncOptions.of([*names, *endpoints], **await with_fetched_service(options))
    notify = report or (lambda _: None)
    if resolved.every is not None:  # ends only by raising
        await sync_forever(
            resolved, resolved.every, watching, stop=stop or anyio.Event(), report=notify, notice=watching.warned
        )
    return await sync_and_load(resolved, watching, stop=stop, report=notify, loaded=lambda _: None)


def run_sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    report: Callable[[SyncSummary], None] | None = None,
    **options: Unpack[SyncArguments],
) -> SyncSummary:
    """Run `sync` in a program without an event loop."""
    return anyio.run(
        lambda: sync(*names, endpoints=endpoints, observer=observer, progress=progress, report=report, **options)
    )


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
        TypeError: An option is unknown.
        BulkExportError: Anything else; see `bulk_export.errors`. Nothing was changed at the destination.

    Example:
        load("/data/npq", to="duckdb:///data/npq.duckdb")
    """
    return load_tables(LoadOptions.of(directory, [*names, *endpoints], **options), progress)


async def doctor(**options: Unpack[DoctorArguments]) -> list[Finding]:
    """Find what would keep an export from working: at most one request an endpoint.

    Args:
        **options: The options of `bulk-export doctor` with underscores, and `token`.

    Returns:
        What was found, in the order in which an export meets it.

    Raises:
        TypeError: An option is unknown.
    """
    return [finding async for finding in diagnose(**await with_fetched_service(options))]


def run_doctor(**options: Unpack[DoctorArguments]) -> list[Finding]:
    """Run `doctor` in a program without an event loop."""
    return anyio.run(lambda: doctor(**options))


async def head(endpoint: str, *, observer: Observer | None = None, **options: Unpack[HeadArguments]) -> pa.RecordBatch:
    """Return the first records of an endpoint, by one request.

    Args:
        endpoint: Name of the endpoint.
        observer: Is notified of what happens.
        **options: The options of `bulk-export head` with underscores, and `token`.

    Returns:
        At most `limit` records, with the columns that a Parquet file of the endpoint would have.

    Raises:
        UsageError: An option cannot be used as given.
        TypeError: An option is unknown.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    return await first_records(head_options(endpoint, **await with_fetched_service(options)), observer)


def run_head(endpoint: str, *, observer: Observer | None = None, **options: Unpack[HeadArguments]) -> pa.RecordBatch:
    """Run `head` in a program without an event loop."""
    return anyio.run(lambda: head(endpoint, observer=observer, **options))


def stream(
    endpoint: str, *, observer: Observer | None = None, **options: Unpack[ExportArguments]
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the records of one endpoint as record batches, in page order, each id once, without any file.

    Leave the iteration early inside `contextlib.aclosing`, so that the requests end at once.

    Args:
        endpoint: Name of the endpoint.
        observer: Is notified of what happens.
        **options: As for `export`; those about files have no effect.

    Yields:
        Record batches with the columns that a Parquet file of the endpoint would have.

    Raises:
        UsageError: An option cannot be used as given.
        TypeError: An option is unknown.
        BulkExportError: Anything else, while iterating; see `bulk_export.errors`.
    """
    service = options.get("service")
    if isinstance(service, str) and is_address(service):
        return _stream_of_fetched(endpoint, observer, options)
    return stream_batches(ExportOptions.of([endpoint], **options), observer)


async def _stream_of_fetched(
    endpoint: str, observer: Observer | None, options: ExportArguments
) -> AsyncGenerator[pa.RecordBatch, None]:
    resolved = ExportOptions.of([endpoint], **await with_fetched_service(options))
    async with aclosing(stream_batches(resolved, observer)) as batches:
        async for batch in batches:
            yield batch
