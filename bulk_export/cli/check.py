"""`bulk-export check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.cli.streams import show
from bulk_export.errors import VerificationFailed
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    from bulk_export.pipelines.checks.runner import CheckResult

_SHOWN = 20

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A finished export, or a copy that sync keeps.")]
Sql = Annotated[
    str | None,
    typer.Option("--sql", metavar="NAME", help="Print the SQL of a question: undecided, changed or unlinked."),
]


def check(
    directory: Directory,
    sql: Sql = None,
    as_json: p.AsJson = False,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """Answer questions on funded places and links from a copy, offline. Leaves with 6 where something is found."""
    line = {"json": as_json, "log_format": log_format, "debug": debug}
    options, _, _ = begin("check", line, p.CHECK, config)

    from bulk_export.pipelines.checks.queries import find_check
    from bulk_export.pipelines.checks.runner import run_checks, sql_script

    if sql is not None:
        show(sql_script(directory, find_check(sql)))
        return
    answers = run_checks(directory)
    if options.get("json", False):
        show(json.dumps({answer.check.name: _object(answer) for answer in answers}, indent=2))
    else:
        for answer in answers:
            _show(answer)
    if any(answer.found for answer in answers):
        raise typer.Exit(VerificationFailed.exit_code)


def _object(answer: CheckResult) -> dict[str, Any]:
    return {
        "title": answer.check.title,
        "unanswered": answer.unanswered,
        "found": answer.found,
        "remarks": list(answer.remarks),
        "rows": [dict(zip(answer.columns, row, strict=True)) for row in answer.rows],
    }


def _show(answer: CheckResult) -> None:
    said = f"not answered: {answer.unanswered}" if answer.unanswered else f"{answer.found:,}"
    show(f"{answer.check.name}: {answer.check.title}: {said}")
    for remark in answer.remarks:
        show(f"  {remark}")
    shown = [answer.columns, *answer.rows[:_SHOWN]] if answer.rows else []
    cells = [["-" if cell is None else one_line(str(cell)) for cell in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        show("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if answer.found > _SHOWN:
        show(f"  and {answer.found - _SHOWN:,} more; --json shows up to 10,000, --sql prints how to see all")
