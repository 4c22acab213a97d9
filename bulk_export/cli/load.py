"""`bulk-export load`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.reporting import hide_in_logs
from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.core.process import configure_allocator
from bulk_export.core.text import counted

if TYPE_CHECKING:
    from bulk_export.pipelines.load import LoadSummary
    from bulk_export.progress.console import Console

Directory = Annotated[str, typer.Argument(metavar="DIR|URL", help="A finished export, or a copy that sync keeps.")]


def load(directory: Directory, **line: Any) -> None:
    """Load a finished export or a copy into a database: in one transaction, exactly once."""
    prepared = prepare("load", line)
    options, console = prepared.options, prepared.console
    tenants = options.pop("tenants")
    if tenants is not None:
        from bulk_export.cli.tenants import load_all

        load_all(tenants, directory, prepared)
        return

    from bulk_export.cli.load_lines import LoadLines
    from bulk_export.core.masking import Masker
    from bulk_export.pipelines.load import load as pipeline
    from bulk_export.pipelines.load_options import LoadOptions
    from bulk_export.pipelines.load_transaction import LoadProgress

    configure_allocator()
    resolved = LoadOptions.of(directory, options.pop("endpoints"), **options)
    if resolved.address.password is not None:
        hide_in_logs(Masker(resolved.address.password).mask)

    summary = pipeline(resolved, LoadProgress() if prepared.progress == "none" else LoadLines(console))
    for remark in summary.remarks:
        console.line(remark, level="warning")
    if prepared.as_json:
        show(json.dumps(dataclasses.asdict(summary), indent=2))
    else:
        _show(summary, console)


def _show(summary: LoadSummary, console: Console) -> None:
    for table in summary.tables:
        if table.action == "skip":
            show(f"{table.table}: holds these rows already")
        else:
            changes = f"{table.inserted:,} inserted, {table.updated:,} updated, {table.deleted:,} deleted"
            show(f"{table.table}: {counted(table.rows, 'row')}; {changes}")
    rows = sum(table.rows for table in summary.tables)
    rate = f", {rows / summary.seconds:,.0f} rows a second" if summary.load_id and summary.seconds else ""
    console.line(f"loaded into {summary.destination} in {summary.seconds:.1f} s{rate}")
