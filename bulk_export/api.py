"""The functions for Python programs, with the options of the command line as keyword arguments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pyarrow as pa

from bulk_export import pipeline
from bulk_export.options import ExportOptions
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.streaming import stream_batches


async def export(
    *endpoints: str, observer: Observer | None = None, stop: anyio.Event | None = None, **options: Any
) -> ExportSummary:
    """Export endpoints, all of them where none is named, into `output`; the outcome in numbers.

    `options` are those of the command line with underscores (`base_url`, `page_size`, …), and `token`. The
    same call goes on after an interruption; setting `stop` interrupts and raises Interrupted. Raises the
    exceptions of this package.
    """
    return await pipeline.export(ExportOptions.of(endpoints, **options), observer, stop=stop)


def run_export(*endpoints: str, observer: Observer | None = None, **options: Any) -> ExportSummary:
    """`export` for programs without an event loop."""

    async def call() -> ExportSummary:
        return await export(*endpoints, observer=observer, **options)

    return anyio.run(call)


def stream(endpoint: str, *, observer: Observer | None = None, **options: Any) -> AsyncGenerator[pa.RecordBatch, None]:
    """The records of one endpoint as record batches, in page order, each id once, without any file.

    `options` as for `export`; those about files have no effect. Leave the iteration early inside
    `contextlib.aclosing`, so that the requests end at once.
    """
    return stream_batches(ExportOptions.of([endpoint], **options), observer)
