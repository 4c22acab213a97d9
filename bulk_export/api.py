"""The functions for Python programs, with the options of the command line as keyword arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import anyio
import pyarrow as pa

from bulk_export import pipeline
from bulk_export.archive_replay import ReplayOptions
from bulk_export.archive_replay import replay as replay_pages
from bulk_export.options import ExportOptions
from bulk_export.progress import choose
from bulk_export.progress.console import Console
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.streaming import stream_batches


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
    resolved = ExportOptions.of([*names, *endpoints], **options)
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
    resolved = ReplayOptions.of(archive, [*names, *endpoints], **options)
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


def stream(endpoint: str, *, observer: Observer | None = None, **options: Any) -> AsyncGenerator[pa.RecordBatch, None]:
    """The records of one endpoint as record batches, in page order, each id once, without any file.

    `options` as for `export`; those about files have no effect. Leave the iteration early inside
    `contextlib.aclosing`, so that the requests end at once.
    """
    return stream_batches(ExportOptions.of([endpoint], **options), observer)
