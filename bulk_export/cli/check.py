"""`bulk-export check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.errors import UsageError, VerificationFailed
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    from bulk_export.pipelines.checks.runner import CheckResult

_SHOWN = 20  # rows of each question

Directory = Annotated[str, typer.Argument(metavar="DIR|URL", help="A finished export, or a copy that sync keeps.")]


def check(directory: Directory, **line: Any) -> None:
    """Answer questions on funded places and links from a copy, offline. Exits with 6 if something is found."""
    options = prepare("check", line).options
    from bulk_export.output.object_store.url import StoreUrl, parse_location
    from bulk_export.pipelines.checks.queries import find_check
    from bulk_export.pipelines.checks.runner import run_checks, run_checks_at, sql_script

    location = parse_location(directory)
    if isinstance(location, StoreUrl):
        if options["sql"] is not None:
            raise UsageError("--sql prints SQL for files on this machine.", next_step="Name a local directory.")
        results = run_checks_at(location)
    elif options["sql"] is not None:
        show(sql_script(location, find_check(options["sql"])))
        return
    else:
        results = run_checks(location)
    if options["json"]:
        show(json.dumps({result.check.name: _as_json(result) for result in results}, indent=2))
    else:
        for result in results:
            _show(result)
    if any(result.found for result in results):
        raise typer.Exit(VerificationFailed.exit_code)


def _as_json(result: CheckResult) -> dict[str, Any]:
    return {
        "title": result.check.title,
        "unanswered": result.unanswered,
        "found": result.found,
        "remarks": list(result.remarks),
        "rows": [dict(zip(result.columns, row, strict=True)) for row in result.rows],
    }


def _show(result: CheckResult) -> None:
    summary = f"not answered: {result.unanswered}" if result.unanswered else f"{result.found:,}"
    show(f"{result.check.name}: {result.check.title}: {summary}")
    for remark in result.remarks:
        show(f"  {remark}")
    shown = [result.columns, *result.rows[:_SHOWN]] if result.rows else []
    cells = [["-" if cell is None else one_line(str(cell)) for cell in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        show("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if result.found > _SHOWN:
        show(f"  and {result.found - _SHOWN:,} more; --json shows up to 10,000, --sql prints how to see all")
