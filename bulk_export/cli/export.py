"""`bulk-export export`."""

from __future__ import annotations

from typing import Any

from bulk_export.cli.reporting import hide_in_logs
from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show_export
from bulk_export.core.process import configure_allocator, importing


def export(**line: Any) -> None:
    """Export endpoints into one directory, all records or some. If interrupted, the same command goes on."""
    prepared = prepare("export", line)
    options, console = prepared.options, prepared.console
    tenants = options.pop("tenants")
    if tenants is not None:
        from bulk_export.cli.tenants import export_all

        export_all(tenants, prepared)
        return

    with importing():
        from bulk_export.pipelines.options import ExportOptions
        from bulk_export.progress import choose

    configure_allocator()
    observer = choose(prepared.progress, console)
    resolved = ExportOptions.of(options.pop("endpoints"), **options)
    if resolved.token is not None:
        hide_in_logs(resolved.token.mask)

    with importing():
        from bulk_export.cli.signals import until_signalled
        from bulk_export.pipelines import export as pipeline

    summary = until_signalled(
        lambda stop: pipeline.export(resolved, observer, stop=stop), resolved.output, observer, console
    )
    show_export(summary, console, as_json=prepared.as_json)
