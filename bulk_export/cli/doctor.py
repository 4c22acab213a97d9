"""`bulk-export doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show, show_lines
from bulk_export.progress.console import one_line

_WIDTH = 26


def doctor(**line: Any) -> None:
    """Find what would keep an export from working: at most one request an endpoint. Exits with the first failure."""
    prepared = prepare("doctor", line)
    options = prepared.options
    as_json = options.pop("json")

    import anyio

    from bulk_export.pipelines.doctor import FAILURE, Finding, diagnose

    findings: list[Finding] = []

    async def look() -> None:
        async for finding in diagnose(**options):
            findings.append(finding)
            if not as_json:
                _show(finding.state, finding.subject, finding.detail, finding.next_step)

    anyio.run(look)
    if as_json:
        show(json.dumps([asdict(finding) for finding in findings], indent=2))
    failed = next((finding for finding in findings if finding.state == FAILURE), None)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _show(state: str, subject: str, detail: str, next_step: str) -> None:
    show_lines(one_line(f"{state:<8} {subject:<{_WIDTH}} {detail}"))
    if next_step:
        show_lines(one_line(f"{'':<8} {next_step}"))
