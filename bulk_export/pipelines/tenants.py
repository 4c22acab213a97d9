"""Exports, copies and loads of several tenants, side by side in one process.

    read_tenants          the file: names, token files, addresses
    export_options, …     the options of each tenant, all checked before anything is sent
    export_tenants, …     run them; what fails for one tenant does not stop the others

Requests to one service from the same addresses are granted in the order of the file (`extract/rate_limit/precedence`):
a tenant gets what those before it leave. Each tenant has a directory, a journal and a token of its own, so an
interrupted run goes on for each where it was.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread

from bulk_export.core.process import is_shortage, require_descriptors, too_few_descriptors
from bulk_export.core.tenant import current_tenant
from bulk_export.errors import BulkExportError, LocalFailure
from bulk_export.output.directory import already_finished, inspect_output
from bulk_export.output.file_names import JOURNAL, WORKING_DIRECTORY
from bulk_export.output.manifest import read_manifest
from bulk_export.pipelines.connection import service_name
from bulk_export.pipelines.export import export
from bulk_export.pipelines.load import LoadSummary, load
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.load_transaction import LoadProgress
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.results import export_parameters, summarise
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.loop import sync_forever
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.pipelines.tenant_options import TenantRuns
from bulk_export.pipelines.tuning import Tuning
from bulk_export.pipelines.workspace import interrupted
from bulk_export.progress.observer import ExportSummary, Observer

R = TypeVar("R")

# Open at once, however many there are: each has a journal, connections and a row group. The limits seldom let more
# than a few send.
_MOST_OPEN = 8


@dataclass(frozen=True, slots=True)
class TenantResult(Generic[R]):
    """What became of one tenant.

    Attributes:
        name: The tenant.
        output: Its directory.
        summary: The result; None if it failed.
        error: Why it failed; None if it did not.
        was_finished: Whether an earlier run had finished it, and this one left it as it was.
    """

    name: str
    output: Path
    summary: R | None
    error: BulkExportError | None = None
    was_finished: bool = False


@dataclass(frozen=True, slots=True)
class TenantsSummary(Generic[R]):
    """What became of all tenants.

    Attributes:
        output: The directory that holds theirs.
        tenants: The result of each by name, in the order of the file.
        seconds: The duration of this run.
    """

    output: Path
    tenants: Mapping[str, TenantResult[R]]
    seconds: float

    @property
    def errors(self) -> dict[str, BulkExportError]:
        """The errors of those that failed, by name."""
        return {name: one.error for name, one in self.tenants.items() if one.error is not None}

    @property
    def exit_code(self) -> int:
        """The highest exit code of any tenant; 0 if all are finished."""
        return max((error.exit_code for error in self.errors.values()), default=0)


Failed = Callable[[str, BulkExportError], None]


async def export_tenants(
    runs: TenantRuns[ExportOptions],
    observer_of: Callable[[str], Observer] = lambda _: Observer(),
    *,
    stop: anyio.Event | None = None,
    tuning: Tuning | None = None,
    failed: Failed = lambda _, __: None,
) -> TenantsSummary[ExportSummary]:
    """Export all tenants, or go on with an interrupted export of them.

    Tenants that an earlier run has finished with the same parameters are left as they are, unless all are.

    Args:
        runs: The options of each.
        observer_of: Makes the observer of a tenant.
        stop: Set it to end all exports early.
        tuning: Timeouts, backoff and sizes that users need not know.
        failed: Is called at once when a tenant has failed.

    Returns:
        What became of each. The error of a tenant is in its result; none is raised.

    Raises:
        UsageError: All tenants are finished, and none is to be replaced.
    """
    finished = {name: one for name, one in runs.options.items() if await anyio.to_thread.run_sync(_is_finished, one)}
    if len(finished) == len(runs.options):
        raise already_finished(runs.output)
    ending = stop or anyio.Event()
    some = next(iter(runs.options.values()))
    addresses = len(some.sources) * some.ip_limit.requests / some.ip_limit.period
    at_once = max(_MOST_OPEN, 1 + math.ceil(addresses * some.service_limit.period / some.service_limit.requests))
    require_descriptors(some.workers * len(some.sources) * min(at_once, len(runs.options)))

    async def one(name: str) -> TenantResult[ExportSummary]:
        options = runs.options[name]
        if name in finished:
            manifest = await anyio.to_thread.run_sync(read_manifest, options.output)
            return TenantResult(name, options.output, summarise(manifest, options.output, 0.0), was_finished=True)
        if ending.is_set():
            raise interrupted(options.output)
        summary = await export(options, observer_of(name), stop=ending, tuning=tuning)
        return TenantResult(name, options.output, summary)

    return await _side_by_side(
        runs.output, {name: each.output for name, each in runs.options.items()}, one, at_once, failed
    )


async def sync_tenants(
    runs: TenantRuns[SyncOptions],
    observer_of: Callable[[str], Observer] = lambda _: Observer(),
    *,
    stop: anyio.Event | None = None,
    report: Callable[[str, SyncSummary], None] = lambda _, __: None,
    loaded: Callable[[str, LoadSummary], None] = lambda _, __: None,
    notice: Callable[[str, str], None] = lambda _, __: None,
    failed: Failed = lambda _, __: None,
) -> TenantsSummary[SyncSummary]:
    """Bring the copies of all tenants up to date, once or, with `every`, again and again.

    Args:
        runs: The options of each.
        observer_of: Makes the observer of a tenant.
        stop: Ends all of them.
        report: Is called with a tenant and the summary of its polls, each time that some were made.
        loaded: Is called with a tenant and the summary of each load into a database.
        notice: Is called with a tenant and a message for each poll of `every` that failed.
        failed: Is called at once when a tenant has failed for good.

    Returns:
        What became of each. The error of a tenant is in its result; none is raised.
    """
    ending = stop or anyio.Event()
    some = next(iter(runs.options.values())).full
    # Between two polls nothing is open, so those that poll again and again need not wait for each other.
    is_endless = any(one.every is not None for one in runs.options.values())
    at_once = len(runs.options) if is_endless else _MOST_OPEN
    require_descriptors(some.workers * len(some.sources) * min(at_once, len(runs.options)))

    async def one(name: str) -> TenantResult[SyncSummary]:
        options, observer = runs.options[name], observer_of(name)
        if ending.is_set():
            raise interrupted(options.output)

        def polled(summary: SyncSummary) -> None:
            report(name, summary)

        def was_loaded(summary: LoadSummary) -> None:
            loaded(name, summary)

        if options.every is not None:  # ends only by raising
            await sync_forever(
                options,
                options.every,
                observer,
                stop=ending,
                report=polled,
                notice=lambda text: notice(name, text),
                loaded=was_loaded,
            )
        summary = await sync_and_load(options, observer, stop=ending, report=polled, loaded=was_loaded)
        return TenantResult(name, options.output, summary)

    return await _side_by_side(
        runs.output, {name: each.output for name, each in runs.options.items()}, one, at_once, failed
    )


def load_tenants(
    runs: TenantRuns[LoadOptions],
    progress_of: Callable[[str], LoadProgress] = lambda _: LoadProgress(),
    *,
    failed: Failed = lambda _, __: None,
) -> TenantsSummary[LoadSummary]:
    """Load what each tenant has into a database, one tenant after the other, each in a transaction. Blocks.

    Args:
        runs: The options of each.
        progress_of: Makes what is notified of the load of a tenant.
        failed: Is called at once when a tenant has failed.

    Returns:
        What became of each. The error of a tenant is in its result; none is raised.
    """
    began = time.monotonic()
    results: dict[str, TenantResult[LoadSummary]] = {}
    for name, options in runs.options.items():
        before = current_tenant.set(name)
        directory = runs.output / name
        try:
            results[name] = TenantResult(name, directory, load(options, progress_of(name)))
        except (BulkExportError, OSError) as error:
            results[name] = _failure(name, directory, error, failed)
        finally:
            current_tenant.reset(before)
    return TenantsSummary(runs.output, results, time.monotonic() - began)


async def _side_by_side(
    output: Path,
    outputs: Mapping[str, Path],
    run: Callable[[str], Awaitable[TenantResult[R]]],
    at_once: int,
    failed: Failed,
) -> TenantsSummary[R]:
    """Run all tenants, so many at once in their order, and collect what becomes of each."""
    began = time.monotonic()
    results: dict[str, TenantResult[R]] = {}
    # A semaphore serves those that wait in the order in which they came.
    places = anyio.Semaphore(at_once)

    async def one(name: str) -> None:
        current_tenant.set(name)
        async with places:
            try:
                results[name] = await run(name)
            except (BulkExportError, OSError) as error:
                results[name] = _failure(name, outputs[name], error, failed)

    async with anyio.create_task_group() as tasks:
        for name in outputs:
            tasks.start_soon(one, name)
    return TenantsSummary(output, {name: results[name] for name in outputs}, time.monotonic() - began)


def _failure(name: str, output: Path, error: BulkExportError | OSError, failed: Failed) -> TenantResult[Any]:
    if isinstance(error, OSError):
        known = too_few_descriptors() if is_shortage(error) else None
        reason = error.strerror or type(error).__name__
        error = known or LocalFailure(
            f"Reading or writing on this machine failed: {reason}.",
            next_step="--debug, or the logger bulk_export, shows where.",
        )
    failed(name, error)
    return TenantResult(name, output, None, error)


def _is_finished(options: ExportOptions) -> bool:
    """Whether an earlier run finished this very export, and it is not to be replaced. Blocking.

    What cannot be read, or is the result of other parameters, is left to the export, which says so.
    """
    state = options.work_dir or options.output / WORKING_DIRECTORY
    if options.overwrite or os.path.lexists(state / JOURNAL):
        return False
    try:
        if not inspect_output(options.output):
            return False
        manifest = read_manifest(options.output)
        summarise(manifest, options.output, 0.0)
    except (BulkExportError, KeyError, TypeError, AttributeError):
        return False
    return (
        manifest.get("base_url") == service_name(options)
        and manifest.get("parameters") == export_parameters(options)
        and set(manifest["endpoints"]) == {endpoint.name for endpoint in options.endpoints}
    )
