"""`bulk-export plan`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bulk_export.cli.runner import Prepared, prepare
from bulk_export.cli.streams import show, show_lines
from bulk_export.core.text import counted

if TYPE_CHECKING:
    from bulk_export.pipelines.estimate import Cost
    from bulk_export.pipelines.plan import PlanOptions


def plan(**line: Any) -> None:
    """Estimate the cost of an export or a sync: requests, time, and how each limit fills. Sends nothing."""
    prepared = prepare("plan", line)
    options = prepared.options
    tenants = options.pop("tenants")
    if tenants is not None:
        from bulk_export.cli.tenants import plan_all

        plan_all(tenants, prepared)
        return
    wants_json = options.pop("json")

    from bulk_export.pipelines.plan import PlanOptions

    show_plan(PlanOptions.of(options.pop("endpoints"), **options), wants_json=wants_json)


def show_dry_run(
    plan_of: Callable[[Sequence[str], Mapping[str, Any]], PlanOptions],
    tenants: str | None,
    prepared: Prepared,
    options: dict[str, Any],
) -> None:
    """Print what another command would cost.

    Args:
        plan_of: Checks the endpoints and options of that command, and returns the plan of it.
        tenants: The file with the tenants for whom it would run.
        prepared: How that command reports.
        options: Its options, with the endpoints.
    """
    from bulk_export.pipelines.dry_run import plan_arguments

    names = options.pop("endpoints")
    if tenants is None:
        show_plan(plan_of(names, options), wants_json=prepared.as_json)
    else:
        from bulk_export.cli.tenants import plan_all

        of_plan = plan_arguments(options) | {"endpoints": names, "json": prepared.as_json}
        plan_all(tenants, replace(prepared, options=of_plan))
    if prepared.progress != "none":
        prepared.console.line("a dry run: nothing was sent, and nothing was written")


def show_plan(resolved: PlanOptions, *, wants_json: bool) -> None:
    """Print the cost of what `plan`, or a command with `--dry-run`, was asked for."""
    from bulk_export.pipelines.page_size_advice import page_size_advice
    from bulk_export.pipelines.plan import plan_costs

    costs = plan_costs(resolved)
    if wants_json:
        shown = [{**asdict(cost), "total": cost.total} for cost in costs.values()]
        result = shown[0] if resolved.changed is None else {"full": shown[0], "poll": shown[1]}
        result |= {"page_size": resolved.export.page_size, "unknown": resolved.unknown}
        show(json.dumps(result, indent=2))
        return
    _show(costs, resolved.records)
    advice = page_size_advice(resolved.export, resolved.records, latency=resolved.latency)
    if advice is not None and resolved.changed is None:
        show_lines(str(advice))
    if resolved.unknown:
        show_lines(
            f"{', '.join(resolved.unknown)}: counted as empty, since the service gives no totals;"
            " say --records ENDPOINT=N, or --like DIR with an earlier export"
        )


def _show(costs: Mapping[str, Cost], records: Mapping[str, int]) -> None:
    """Print a table with a column for each cost, and what it means for the limits."""
    from bulk_export.progress.tally import clock_text

    names = list(next(iter(costs.values())).requests)
    width = max(len(name) for name in [*names, "total"])
    show_lines("  ".join([f"{'endpoint':<{width}}", f"{'records':>12}", *(f"{title:>9}" for title in costs)]))
    for name in names:
        cells = [f"{cost.requests[name]:>9,}" for cost in costs.values()]
        count = f"{records[name]:,}" if name in records else "?"
        show_lines("  ".join([f"{name:<{width}}", f"{count:>12}", *cells]))
    cells = [f"{cost.total:>9,}" for cost in costs.values()]
    show_lines("  ".join([f"{'total':<{width}}", f"{sum(records.values()):>12,}", *cells]))
    for title, cost in costs.items():
        prefix = f"{title}: " if len(costs) > 1 else ""
        show_lines(f"{prefix}finding the ends may add up to {counted(cost.search, 'request')}")
        for window in cost.windows:
            limit = f"{window.limit.requests:,} in {clock_text(window.limit.period)}"
            full = "limit not reached" if window.filled_at is None else f"used up after {clock_text(window.filled_at)}"
            show_lines(f"{prefix}{window.name}: {counted(window.requests, 'request')} under {limit}, {full}")
        show_lines(f"{prefix}done after about {clock_text(cost.seconds)}")
