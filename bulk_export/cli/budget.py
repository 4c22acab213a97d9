"""`bulk-export budget`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from bulk_export.cli.runner import prepare


def budget(**line: Any) -> None:
    """Show the usage of each limit, and when it resets, by service, token and address. Sends nothing."""
    options = prepare("budget", line).options

    from bulk_export.extract.rate_limit.usage import read_usage
    from bulk_export.progress.tally import clock_text

    uses = read_usage(options["budget"] or "sqlite://")
    if options["json"]:
        typer.echo(json.dumps([asdict(use) | {"used": use.used} for use in uses], indent=2))
        return
    if not uses:
        typer.echo("nothing is on record as spent")
    for use in uses:
        name = "service" if use.address is None else f"from {use.address}"
        limit = f"{use.used} of {use.limit.requests} in {clock_text(use.limit.period)}"
        free = ""
        if use.free_in:
            free = f", the first free in {clock_text(use.free_in[0])}, all in {clock_text(use.free_in[-1])}"
        held = f"; held for {clock_text(use.held_for)} after a 429" if use.held_for > 0 else ""
        typer.echo(f"{use.service}  token {use.token}  {name}: {limit}{free}{held}")
