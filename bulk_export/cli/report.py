"""`bulk-export report`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.errors import VerificationFailed
from bulk_export.progress.console import one_line

Directory = Annotated[str, typer.Argument(metavar="DIR|URL", help="A finished export, or a copy that sync keeps.")]


def report(directory: Directory, **line: Any) -> None:
    """Write one HTML file about an export or a copy: is it whole, limits and rate over time, columns, drift, polls.

    With --verify, an export that differs from its manifest is an error as for `verify`, once the file is written;
    so is a copy with damaged tables.
    """
    prepared = prepare("report", line)
    options = prepared.options
    as_json = options.pop("json")

    from bulk_export.output.report.of_copy import NEXT_SYNC
    from bulk_export.output.verify import MEND
    from bulk_export.pipelines.report import COPY, write_report

    summary = write_report(directory, **options)
    if as_json:
        show(json.dumps({**dataclasses.asdict(summary), "path": str(summary.path)}))
    else:
        show(one_line(str(summary.path)))
    if options["verify"] and summary.difference:
        raise VerificationFailed(
            summary.difference,
            kept=f"{summary.path} is written, and says so.",
            next_step=NEXT_SYNC if summary.kind == COPY else MEND,
        )
    if not as_json:
        prepared.console.line(summary.verdict, level="info" if summary.is_whole else "warning")
