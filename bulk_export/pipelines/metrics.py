"""When the metrics of a run are written, and which: see `output.metrics_file`.

Whether the file can be written is found out before the first request (`check_metrics`). If it cannot be written after
all, because the disk is full by then, that is a warning: what the run made is there.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bulk_export.errors import BulkExportError, DirectoryInUse, Interrupted, LocalFailure
from bulk_export.output.metrics_file import Sample, require_writable, write_failure, write_success
from bulk_export.progress.observer import ExportSummary
from bulk_export.progress.summary import is_incomplete

if TYPE_CHECKING:
    from bulk_export.pipelines.sync.summary import SyncSummary

Samples = Callable[[list[Sample]], None]


async def check_metrics(path: Path | None, output: Path) -> None:
    """Find out whether the metrics of a run can be written, before it begins.

    Args:
        path: The file; None for none.
        output: The directory that the run makes, in which the file may be.

    Raises:
        LocalFailure: They cannot. Nothing was left behind.
    """
    if path is not None:
        await anyio.to_thread.run_sync(require_writable, path, output)


@asynccontextmanager
async def measured(
    path: Path | None, command: str, *, result: str, warned: Callable[[str], None], now: Callable[[], float] = time.time
) -> AsyncIterator[Samples]:
    """Write the metrics of what runs inside: the samples that it passes on, or that it failed.

    Args:
        path: The file; None for none.
        command: The command, which becomes a label.
        result: A sentence on what a success leaves: `The export in DIR is finished.`
        warned: Is told that they could not be written.
        now: Seconds since the epoch.

    Yields:
        What takes the samples of a success.
    """
    samples: list[Sample] = []
    began = now()

    async def write(write_now: Callable[[], None], result: str = "") -> None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(write_now)
            except LocalFailure as failure:
                warned(f"{failure.what} {result}".strip())

    try:
        yield samples.extend
    except DirectoryInUse:
        raise  # another process is at work, which writes its own
    except BaseException as error:
        if path is not None:
            failed = functools.partial(write_failure, path, now=now(), exit_code=_exit_code(error), command=command)
            await write(failed)
        raise
    if path is not None:
        ended = now()
        samples.append(Sample("last_success_timestamp_seconds", ended, {"command": command}))
        samples.append(Sample("last_duration_seconds", ended - began, {"command": command}))
        await write(functools.partial(write_success, path, samples, command), result)


def _exit_code(error: BaseException) -> int:
    """The exit code of the command that this error ends; a program that cancels a run interrupts it."""
    if isinstance(error, BulkExportError):
        return error.exit_code
    is_stopped = isinstance(error, (KeyboardInterrupt, anyio.get_cancelled_exc_class()))
    return Interrupted.exit_code if is_stopped else BulkExportError.exit_code


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
    yield Sample("last_sample_limit", summary.sample or 0, command)
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
