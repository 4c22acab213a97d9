"""`bulk-export budget`."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin


def budget(
    place: p.Budget = None,
    as_json: p.AsJson = False,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """What is spent of each limit, and when it comes free, by service, token and address. Sends nothing."""
    line = {"budget": place, "json": as_json, "log_format": log_format, "debug": debug}
    options, _, _ = begin("budget", line, p.BUDGET, config)

    from bulk_export.extract.rate_limit.usage import read_usage
    from bulk_export.progress.tally import clock_text

    uses = read_usage(options.get("budget", "sqlite://"))
    if options.get("json", False):
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
