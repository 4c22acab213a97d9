"""When the metrics of a run are written, and which: see `output.metrics_file`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from bulk_export.errors import BulkExportError, DirectoryInUse, LocalFailure
from bulk_export.output.metrics_file import Sample, write_failure, write_success
from bulk_export.progress.observer import ExportSummary
from bulk_export.progress.summary import is_incomplete

if TYPE_CHECKING:
    from bulk_export.pipelines.sync.summary import SyncSummary

Samples = Callable[[list[Sample]], None]


@asynccontextmanager
async def measured(path: Path | None, command: str, now: Callable[[], float] = time.time) -> AsyncIterator[Samples]:
    """Write the metrics of what runs inside: the samples that it passes on, or that it failed.

    Args:
        path: The file; None for none.
        command: The command, which becomes a label.
        now: Seconds since the epoch.

    Yields:
        What takes the samples of a success.

    Raises:
        LocalFailure: The run succeeded, and its metrics cannot be written.
    """
    samples: list[Sample] = []
    began = now()
    try:
        yield samples.extend
    except DirectoryInUse:
        raise  # another process is at work, which writes its own
    except BulkExportError as error:
        if path is not None:
            code = error.exit_code
            # The error itself is what the user has to hear of.
            with suppress(LocalFailure):
                await anyio.to_thread.run_sync(lambda: write_failure(path, now=now(), exit_code=code, command=command))
        raise
    if path is not None:
        ended = now()
        samples.append(Sample("last_success_timestamp_seconds", ended, {"command": command}))
        samples.append(Sample("last_duration_seconds", ended - began, {"command": command}))
        await anyio.to_thread.run_sync(write_success, path, samples, command)


def export_samples(summary: ExportSummary) -> list[Sample]:
    """The numbers of a finished export."""
    return list(_export_samples(summary))


def _export_samples(summary: ExportSummary) -> Iterator[Sample]:
    command = {"command": "export"}
    for endpoint in summary.endpoints:
        labels = {**command, "endpoint": endpoint.name}
        yield Sample("last_records", endpoint.records, labels)
        yield Sample("last_bytes", endpoint.bytes, labels)
    yield Sample("last_incomplete", sum(map(is_incomplete, summary.endpoints)), command)
    yield Sample("last_requests", summary.requests, command)
    yield Sample("last_retries", summary.retries, command)
    yield Sample("last_throttled", summary.throttled, command)


def sync_samples(summary: SyncSummary) -> list[Sample]:
    """The numbers of the polls of one run."""
    command = {"command": "sync"}
    polls = summary.polls
    fetched: dict[str, int] = {}
    for poll in polls:
        for name, table in poll.tables.items():
            fetched[name] = fetched.get(name, 0) + table.counts.fetched
    return [
        *(Sample("last_records", count, {**command, "endpoint": name}) for name, count in fetched.items()),
        Sample("last_requests", sum(poll.requests for poll in polls), command),
        Sample("last_retries", sum(poll.retries for poll in polls), command),
        Sample("last_throttled", sum(poll.throttled for poll in polls), command),
    ]
