"""`bulk-export check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.errors import VerificationFailed
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    from bulk_export.pipelines.checks.runner import CheckResult

_SHOWN = 20

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A finished export, or a copy that sync keeps.")]


def check(directory: Directory, **line: Any) -> None:
    """Answer questions on funded places and links from a copy, offline. Exits with 6 if something is found."""
    options = prepare("check", line).options

    from bulk_export.pipelines.checks.queries import question
    from bulk_export.pipelines.checks.runner import check as answers_from
    from bulk_export.pipelines.checks.runner import script

    if "sql" in options:
        show(script(directory, question(options["sql"])))
        return
    answers = answers_from(directory)
    if options.get("json", False):
        show(json.dumps({answer.question.name: _object(answer) for answer in answers}, indent=2))
    else:
        for answer in answers:
            _show(answer)
    if any(answer.found for answer in answers):
        raise typer.Exit(VerificationFailed.exit_code)


def _object(answer: CheckResult) -> dict[str, Any]:
    return {
        "title": answer.question.title,
        "unanswered": answer.unanswered,
        "found": answer.found,
        "remarks": list(answer.remarks),
        "rows": [dict(zip(answer.columns, row, strict=True)) for row in answer.rows],
    }


def _show(answer: CheckResult) -> None:
    said = f"not answered: {answer.unanswered}" if answer.unanswered else f"{answer.found:,}"
    show(f"{answer.question.name}: {answer.question.title}: {said}")
    for remark in answer.remarks:
        show(f"  {remark}")
    shown = [answer.columns, *answer.rows[:_SHOWN]] if answer.rows else []
    cells = [["-" if cell is None else one_line(str(cell)) for cell in row] for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        show("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if answer.found > _SHOWN:
        show(f"  and {answer.found - _SHOWN:,} more; --json shows up to 10,000, --sql prints how to see all")
