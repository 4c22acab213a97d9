"""`bulk-export export`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulk_export.cli.next_command import name_next_command
from bulk_export.cli.reporting import hide_in_logs
from bulk_export.cli.runner import Prepared, prepare
from bulk_export.cli.streams import show_export
from bulk_export.core.process import configure_allocator, importing
from bulk_export.errors import BulkExportError, Interrupted


def export(**line: Any) -> None:
    """Export endpoints into one directory, all records or some. If interrupted, the same command goes on."""
    prepared = prepare("export", line)
    options = dict(prepared.options)
    tenants, is_dry = options.pop("tenants"), options.pop("dry_run")
    if is_dry:
        from bulk_export.cli.plan import show_dry_run
        from bulk_export.pipelines.dry_run import plan_of_export

        show_dry_run(plan_of_export, tenants, prepared, options)
        return
    if tenants is not None:
        from bulk_export.cli.tenants import export_all

        export_all(tenants, prepared, options)
        return
    run_export(prepared, options.pop("endpoints"), options)


def run_export(
    prepared: Prepared, endpoints: Sequence[str], options: dict[str, Any], *, is_resumed: bool = False
) -> None:
    """Run an export with prepared options on the command line; `is_resumed` if it is the command `resume`."""
    console = prepared.console

    with importing():
        from bulk_export.pipelines.options import ExportOptions
        from bulk_export.progress import choose

    configure_allocator()
    observer = choose(prepared.progress, console)
    resolved = ExportOptions.of(endpoints, **options)
    if resolved.token is not None:
        hide_in_logs(resolved.token.mask)

    with importing():
        from bulk_export.cli.signals import until_signalled
        from bulk_export.pipelines import export as pipeline
        from bulk_export.pipelines.workspace import interrupted

    def stopped() -> Interrupted:
        error = interrupted(resolved.output)
        error.can_resume = True
        name_next_command(error, resolved.output, is_resumed=is_resumed)
        return error

    try:
        summary = until_signalled(
            lambda stop: pipeline.export(resolved, observer, stop=stop), stopped, observer, console
        )
    except BulkExportError as error:
        name_next_command(error, resolved.output, is_resumed=is_resumed)
        raise
    show_export(summary, console, as_json=prepared.as_json)
