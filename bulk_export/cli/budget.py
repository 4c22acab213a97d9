"""`bulk-export budget`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show, show_lines
from bulk_export.core.text import counted

if TYPE_CHECKING:
    from bulk_export.extract.rate_limit.usage import LimitUsage


def _as_json(use: LimitUsage) -> dict[str, Any]:
    """One limit as an object: of the many requests that count, when the first and when the last does not any more."""
    ends = (use.free_in[0], use.free_in[-1]) if use.free_in else ()
    return asdict(use) | {"free_in": [round(seconds, 3) for seconds in ends], "used": use.used}


def budget(**line: Any) -> None:
    """Show the usage of each limit, and when it resets, by service, token and address. Sends nothing."""
    options = prepare("budget", line).options

    from bulk_export.extract.rate_limit.usage import read_usage
    from bulk_export.progress.tally import clock_text

    uses = read_usage(options["budget"] or "sqlite://")
    if options["json"]:
        lines = ",\n".join(json.dumps(_as_json(use)) for use in uses)
        show(f"[\n{lines}\n]" if uses else "[]")
        return
    if not uses:
        show_lines("nothing is on record as spent")
    shown = [use for use in uses if use.used or use.held_for > 0]
    for use in shown:
        name = "service" if use.address is None else f"from {use.address}"
        limit = f"{use.used:,} of {use.limit.requests:,} in {clock_text(use.limit.period)}"
        free = ""
        if use.free_in:
            free = f", the first free in {clock_text(use.free_in[0])}, all in {clock_text(use.free_in[-1])}"
        held = f"; held for {clock_text(use.held_for)} after a 429" if use.held_for > 0 else ""
        show_lines(f"{use.service}  token {use.token}  {name}: {limit}{free}{held}")
    unspent = len(uses) - len(shown)
    if unspent:
        others = f"and {unspent:,} more with nothing spent"
        show_lines(others if shown else f"nothing is spent of {counted(unspent, 'limit')} on record")
