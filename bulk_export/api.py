"""The functions for Python programs, with the options of the command line as keyword arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import pyarrow as pa

from bulk_export.extract.certificates import ca_file_of
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import fetch_service, is_address
from bulk_export.pipelines.replay import replay as replay_pages
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.stream import stream_batches
from bulk_export.pipelines.sync.forever import keep_current
from bulk_export.pipelines.sync.options import SyncOptions, split_every
from bulk_export.pipelines.sync.poll import SyncSummary, sync_once
from bulk_export.progress import choose
from bulk_export.progress.console import Console
from bulk_export.progress.observer import ExportSummary, Observer


async def export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    stop: anyio.Event | None = None,
    **options: Any,
) -> ExportSummary:
    """Export endpoints, all of them where none is named, into `output`; the outcome in numbers.

    Endpoints are given by position or as `endpoints`; `options` are those of the command line with underscores
    (`base_url`, `page_size`, …), and `token`. The same call goes on after an interruption; setting `stop`
    interrupts and raises Interrupted. `observer` is told what happens, in place of a `progress` display on
    standard error. Raises the exceptions of this package.
    """
    resolved = ExportOptions.of([*names, *endpoints], **await _with_fetched_service(options))
    return await pipeline.export(resolved, observer or choose(progress, Console(sys.stderr)), stop=stop)


def run_export(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    **options: Any,
) -> ExportSummary:
    """`export` for programs without an event loop."""

    async def call() -> ExportSummary:
        return await export(*names, endpoints=endpoints, observer=observer, progress=progress, **options)

    return anyio.run(call)


async def replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    stop: anyio.Event | None = None,
    **options: Any,
) -> ExportSummary:
    """Make another output from the pages that an export with `keep_pages` left; the outcome in numbers.

    `options` are those of `bulk-export replay` with underscores. Nothing is sent. Raises the exceptions of this
    package.
    """
    resolved = ReplayOptions.of(archive, [*names, *endpoints], **await _with_fetched_service(options))
    return await replay_pages(resolved, observer or choose(progress, Console(sys.stderr)), stop=stop)


def run_replay(
    archive: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    **options: Any,
) -> ExportSummary:
    """`replay` for programs without an event loop."""

    async def call() -> ExportSummary:
        return await replay(archive, *names, endpoints=endpoints, observer=observer, progress=progress, **options)

    return anyio.run(call)


async def sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    stop: anyio.Event | None = None,
    report: Callable[[SyncSummary], None] | None = None,
    **options: Any,
) -> SyncSummary:
    """Bring the copy in `output` up to date; what the polls did.

    `options` are those of `bulk-export sync` with underscores. With `every`, it goes on polling until `stop` is set,
    which raises Interrupted, and `report` hears of each time. Raises the exceptions of this package.
    """
    watching = observer or choose(progress, Console(sys.stderr))
    rest, every = split_every(await _with_fetched_service(options))
    resolved = SyncOptions.of([*names, *endpoints], **rest)
    told = report or (lambda _: None)
    if every is not None:
        await keep_current(resolved, every, watching, stop=stop or anyio.Event(), report=told, notice=watching.warned)
    return await sync_once(resolved, watching, stop=stop, report=told)


def run_sync(
    *names: str,
    endpoints: Sequence[str] = (),
    observer: Observer | None = None,
    progress: str = "none",
    report: Callable[[SyncSummary], None] | None = None,
    **options: Any,
) -> SyncSummary:
    """`sync` for programs without an event loop."""

    async def call() -> SyncSummary:
        return await sync(*names, endpoints=endpoints, observer=observer, progress=progress, report=report, **options)

    return anyio.run(call)


def stream(endpoint: str, *, observer: Observer | None = None, **options: Any) -> AsyncGenerator[pa.RecordBatch, None]:
    """The records of one endpoint as record batches, in page order, each id once, without any file.

    `options` as for `export`; those about files have no effect. Leave the iteration early inside
    `contextlib.aclosing`, so that the requests end at once.
    """
    if _is_fetched(options):
        return _stream_of_fetched(endpoint, observer, options)
    return stream_batches(ExportOptions.of([endpoint], **options), observer)


async def _stream_of_fetched(
    endpoint: str, observer: Observer | None, options: Mapping[str, Any]
) -> AsyncGenerator[pa.RecordBatch, None]:
    resolved = ExportOptions.of([endpoint], **await _with_fetched_service(options))
    async with aclosing(stream_batches(resolved, observer)) as batches:
        async for batch in batches:
            yield batch


def _is_fetched(options: Mapping[str, Any]) -> bool:
    service = options.get("service")
    return isinstance(service, str) and is_address(service)


async def _with_fetched_service(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the service in place of the address of its description, where they name one."""
    if not _is_fetched(options):
        return dict(options)
    insecure = bool(options.get("allow_plain_http", False))
    ca_file, version = ca_file_of(options.get("ca_file")), options.get("api_version")
    service = await fetch_service(options["service"], version, allow_plain_http=insecure, ca_file=ca_file)
    return {**options, "service": service}
