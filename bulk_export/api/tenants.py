"""The functions for Python programs that serve several tenants: the commands with `--tenants`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Unpack

import anyio

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.api.event_loop import fetched, run
from bulk_export.api.option_help import shows_options
from bulk_export.api.watching import tenant_watchers
from bulk_export.pipelines import tenants as several
from bulk_export.pipelines.arguments import ExportArguments, SyncArguments
from bulk_export.pipelines.choices import Display
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.load import LoadSummary
from bulk_export.pipelines.load_arguments import LoadArguments
from bulk_export.pipelines.plan_arguments import PlanArguments
from bulk_export.pipelines.remote_descriptions import with_fetched_service
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.pipelines.tenant_options import export_options, load_options, sync_options
from bulk_export.pipelines.tenants import TenantsSummary
from bulk_export.pipelines.tenants_file import read_tenants
from bulk_export.pipelines.tenants_plan import TenantsPlan
from bulk_export.pipelines.tenants_plan import plan_tenants as costs_of_tenants
from bulk_export.progress.console import Console
from bulk_export.progress.events import ProgressEvent
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.progress.run_words import SYNC
from bulk_export.progress.tenants import choose_for_tenants


@checks_arguments
@shows_options(ExportArguments)
async def export_tenants(
    tenants: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer_of: Callable[[str], Observer] | None = None,
    progress: Display = "none",
    on_progress: Callable[[str, ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    **options: Unpack[ExportArguments],
) -> TenantsSummary[ExportSummary]:
    """Export several tenants side by side, each with its own token and into its own directory of `output`.

    Args:
        tenants: The file that names them, with their token files and addresses.
        *names: Names of endpoints; with those in `endpoints`, all that are exported. All of the service if there
            are none.
        endpoints: More names.
        observer_of: Is called with the name of each tenant for what is notified of its events, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with the name of a tenant and each of its events, and must return soon.
            If it raises, the run of the tenant goes on without it.
        stop: Interrupts all exports when it is set.
        **options: The options of `bulk-export export` with underscores, for all tenants.

    Returns:
        What became of each tenant. What fails for one, an interruption included, is in its result and not raised.

    Raises:
        UsageError: The file or an option cannot be used as given, or all tenants are finished already.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.

    Example:
        summary = await export_tenants("tenants.toml", base_url=url, output="out")
        for name, error in summary.errors.items():
            print(name, error)
    """
    runs = export_options(read_tenants(tenants), [*names, *endpoints], await with_fetched_service(options))
    display = choose_for_tenants(progress, Console(sys.stderr))
    try:
        return await several.export_tenants(
            runs, tenant_watchers(observer_of or display.observer_of, on_progress), stop=stop
        )
    finally:
        display.closed()


@checks_arguments
@shows_options(ExportArguments)
def run_export_tenants(
    tenants: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer_of: Callable[[str], Observer] | None = None,
    progress: Display = "none",
    on_progress: Callable[[str, ProgressEvent], object] | None = None,
    **options: Unpack[ExportArguments],
) -> TenantsSummary[ExportSummary]:
    """Run `export_tenants` in a program without an event loop."""
    return run(
        "export_tenants",
        lambda: export_tenants(
            tenants,
            *names,
            endpoints=endpoints,
            observer_of=observer_of,
            progress=progress,
            on_progress=on_progress,
            **options,
        ),
    )


@checks_arguments
@shows_options(SyncArguments)
async def sync_tenants(
    tenants: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer_of: Callable[[str], Observer] | None = None,
    progress: Display = "none",
    on_progress: Callable[[str, ProgressEvent], object] | None = None,
    stop: anyio.Event | None = None,
    report: Callable[[str, SyncSummary], None] | None = None,
    **options: Unpack[SyncArguments],
) -> TenantsSummary[SyncSummary]:
    """Bring the copies of several tenants up to date side by side, each in its own directory of `output`.

    Args:
        tenants: The file that names them, with their token files and addresses.
        *names: Names of endpoints; with those in `endpoints`, all that are copied.
        endpoints: More names.
        observer_of: Is called with the name of each tenant for what is notified of its events, in place of a display.
        progress: The display on standard error: `auto`, `rich`, `plain` or `none`.
        on_progress: Is called on the event loop with the name of a tenant and each of its events, and must return soon.
            If it raises, the run of the tenant goes on without it.
        stop: Interrupts all of them when it is set.
        report: Is called with the name of a tenant and what its polls did, each time that some were made.
        **options: The options of `bulk-export sync` with underscores, for all tenants.

    Returns:
        What became of each tenant. What fails for one, an interruption included, is in its result and not raised.

    Raises:
        UsageError: The file or an option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    runs = sync_options(read_tenants(tenants), [*names, *endpoints], await with_fetched_service(options))
    display = choose_for_tenants(progress, Console(sys.stderr), SYNC)
    observers = tenant_watchers(observer_of or display.observer_of, on_progress)
    try:
        return await several.sync_tenants(
            runs,
            observers,
            stop=stop,
            report=report or (lambda _, __: None),
            notice=lambda name, text: observers(name).warned(text),
        )
    finally:
        display.closed()


@checks_arguments
@shows_options(SyncArguments)
def run_sync_tenants(
    tenants: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    observer_of: Callable[[str], Observer] | None = None,
    progress: Display = "none",
    on_progress: Callable[[str, ProgressEvent], object] | None = None,
    report: Callable[[str, SyncSummary], None] | None = None,
    **options: Unpack[SyncArguments],
) -> TenantsSummary[SyncSummary]:
    """Run `sync_tenants` in a program without an event loop."""
    return run(
        "sync_tenants",
        lambda: sync_tenants(
            tenants,
            *names,
            endpoints=endpoints,
            observer_of=observer_of,
            progress=progress,
            on_progress=on_progress,
            report=report,
            **options,
        ),
    )


@checks_arguments
@shows_options(LoadArguments)
def load_tenants(
    tenants: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *names: str,
    endpoints: Sequence[str] = (),
    **options: Unpack[LoadArguments],
) -> TenantsSummary[LoadSummary]:
    """Load what several tenants have into a database, one after the other. Blocks until it is done.

    Args:
        tenants: The file that names them. Their `schema` and `table-prefix` win over the options.
        directory: The directory that holds those of the tenants.
        *names: Names of endpoints; with those in `endpoints`, all that are loaded.
        endpoints: More names.
        **options: The options of `bulk-export load` with underscores. In `to`, `schema` and `table_prefix`, `{tenant}`
            stands for the name of the tenant.

    Returns:
        What became of each tenant. What fails for one is in its result and not raised.

    Raises:
        UsageError: The file or an option cannot be used as given, or two tenants would have the same tables.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    return several.load_tenants(load_options(read_tenants(tenants), directory, [*names, *endpoints], options))


@checks_arguments
@shows_options(PlanArguments)
def plan_tenants(
    tenants: str | os.PathLike[str], *names: str, endpoints: Sequence[str] = (), **options: Unpack[PlanArguments]
) -> TenantsPlan:
    """Estimate the cost of exports, or of copies, of several tenants side by side. Sends nothing, and reads no token.

    Args:
        tenants: The file that names them.
        *names: Names of endpoints; with those in `endpoints`, all that are counted.
        endpoints: More names.
        **options: As for `plan`, for all tenants. In the directory of `like`, tenants with a directory of their own
            take their numbers of records from it.

    Returns:
        The cost of each tenant and of all.

    Raises:
        UsageError: The file or an option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: An earlier export, or the description, cannot be read.
    """
    with_defaults(PlanArguments, options)
    cost, *polls = costs_of_tenants(read_tenants(tenants), [*names, *endpoints], fetched(options)).values()
    return TenantsPlan(cost, polls[0] if polls else None)
