"""`bulk-export plan`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.core.model import Endpoint
from bulk_export.errors import UsageError

if TYPE_CHECKING:
    from bulk_export.pipelines.estimate import Cost

Records = Annotated[
    list[str] | None,
    typer.Option("--records", metavar="[ENDPOINT=]N", help="How many records; for all endpoints, or repeat for each."),
]
Like = Annotated[
    str | None, typer.Option("--like", metavar="DIR", help="As many records as an earlier export in DIR found.")
]
Sync = Annotated[bool, typer.Option("--sync", help="What `sync` costs instead: everything, and a poll for changes.")]
Changed = Annotated[
    list[str] | None,
    typer.Option("--changed", metavar="[ENDPOINT=]N", help="With --sync: how many records change between two polls."),
]
Latency = Annotated[
    str | None, typer.Option("--latency", metavar="TIME", help="Time from a request to its answer. (500ms)")
]

_COUNT = re.compile(r"\d{1,12}", re.ASCII)
# Months under the service's limits, and some seconds to play through.
_MOST_REQUESTS = 300_000


def plan(
    endpoints: p.Endpoints = None,
    records: Records = None,
    like: Like = None,
    service: p.Service = None,
    api_version: p.ApiVersion = None,
    environment: p.Environment = None,
    base_url: p.BaseUrl = None,
    page_size: p.PageSize = None,
    workers: p.Workers = None,
    service_limit: p.ServiceLimit = None,
    ip_limit: p.IpLimit = None,
    min_interval: p.MinInterval = None,
    source_address: p.SourceAddress = None,
    share: p.Share = None,
    consistent: p.Consistent = False,
    sync: Sync = False,
    changed: Changed = None,
    latency: Latency = None,
    as_json: p.AsJson = False,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """What an export or a sync would cost: requests, time, and how each limit fills. Sends nothing."""
    line = {name: value for name, value in locals().items() if name not in ("config", "as_json")} | {"json": as_json}
    options, _, _ = begin("plan", line, p.PLAN, config)

    from bulk_export.core.units import parse_duration
    from bulk_export.pipelines.estimate import estimate, full_load, poll_load
    from bulk_export.pipelines.options import LOCAL, ExportOptions
    from bulk_export.services.catalogue import load_service
    from bulk_export.services.local.settings import BUNDLED_RECORDS

    given, earlier = options.pop("records", []), options.pop("like", None)
    for_sync, changes = options.pop("sync", False), options.pop("changed", [])
    if changes and not for_sync:
        raise UsageError("--changed is for --sync.", next_step="Add --sync, or leave --changed out.")
    delay = parse_duration(options.pop("latency", "500ms"), "a latency")
    wants_json = options.pop("json", False)
    # Nothing is sent, so no address and no token are needed.
    bundled = options.pop("environment", None) == LOCAL and not options.get("base_url")
    options.pop("base_url", None)
    described = load_service(options.pop("service", "npq"), options.pop("api_version", None))
    # Nor is a filter, which would only make the answer smaller.
    free = replace(described, endpoints=tuple(replace(endpoint, requires=()) for endpoint in described))
    resolved = ExportOptions.of(options.pop("endpoints", ()), environment=LOCAL, service=free, **options)
    counts = _counts(resolved.endpoints, given, Path(earlier) if earlier else None)
    if bundled:
        counts = {endpoint.name: counts.get(endpoint.name, BUNDLED_RECORDS) for endpoint in resolved.endpoints}
    unknown = [endpoint.name for endpoint in resolved.endpoints if endpoint.name not in counts]
    everything = full_load(resolved.endpoints, counts, resolved.page_size, consistent=for_sync or resolved.consistent)
    parts = {"requests": everything}
    if for_sync:
        expected = _counts(resolved.endpoints, changes, None, option="--changed")
        smaller = resolved.page_size if "page_size" in options else described.default_page_size
        sizes = resolved.page_size, min(resolved.page_size, smaller)
        parts = {"full sync": everything, "a poll": poll_load(resolved.endpoints, counts, expected, sizes)}
    if any(sum(one.requests for one in part.values()) > _MOST_REQUESTS for part in parts.values()):
        raise UsageError(
            f"That would take more than {_MOST_REQUESTS:,} requests, which is not played through.",
            next_step="Choose a larger --page-size, up to 3000, or fewer endpoints.",
        )
    costs = {
        title: estimate(
            part,
            service_limit=resolved.service_limit.scaled(resolved.share),
            ip_limit=resolved.ip_limit.scaled(resolved.share),
            sources=len(resolved.sources),
            min_interval=resolved.min_interval,
            latency=delay,
            workers=resolved.workers,
        )
        for title, part in parts.items()
    }
    if wants_json:
        shown = [{**asdict(cost), "total": cost.total} for cost in costs.values()]
        said = {"full": shown[0], "poll": shown[1]} if for_sync else shown[0]
        typer.echo(json.dumps({**said, "page_size": resolved.page_size, "unknown": unknown}, indent=2))
        return
    _show(costs, counts)
    if unknown:
        typer.echo(
            f"{', '.join(unknown)}: counted as empty, since the service gives no totals;"
            " say --records ENDPOINT=N, or --like DIR with an earlier export"
        )


def _show(costs: Mapping[str, Cost], counts: Mapping[str, int]) -> None:
    """A table with a column for each cost, and what it means for the limits."""
    from bulk_export.progress.tally import clock_text

    names = list(next(iter(costs.values())).requests)
    width = max(len(name) for name in [*names, "total"])
    typer.echo("  ".join([f"{'endpoint':<{width}}", f"{'records':>12}", *(f"{title:>9}" for title in costs)]))
    for name in names:
        cells = [f"{cost.requests[name]:>9,}" for cost in costs.values()]
        records = f"{counts[name]:,}" if name in counts else "?"
        typer.echo("  ".join([f"{name:<{width}}", f"{records:>12}", *cells]))
    cells = [f"{cost.total:>9,}" for cost in costs.values()]
    typer.echo("  ".join([f"{'total':<{width}}", f"{sum(counts.values()):>12,}", *cells]))
    for title, cost in costs.items():
        of = f"{title}: " if len(costs) > 1 else ""
        typer.echo(f"{of}finding the ends may add up to {cost.search} requests")
        for window in cost.windows:
            limit = f"{window.limit.requests:,} in {clock_text(window.limit.period)}"
            full = "never used up" if window.filled_at is None else f"used up after {clock_text(window.filled_at)}"
            typer.echo(f"{of}{window.name}: {window.requests:,} requests under {limit}, {full}")
        typer.echo(f"{of}done after about {clock_text(cost.seconds)}")


def _counts(
    endpoints: tuple[Endpoint, ...], given: list[str], earlier: Path | None, option: str = "--records"
) -> dict[str, int]:
    """Records by endpoint, from `ENDPOINT=N` or `N`, and from an earlier manifest for what is not given."""
    advice = f"Write {option} 50000 or {option} npq-applications=50000; --like DIR takes an earlier export's."
    known: dict[str, int] = {}
    if earlier is not None:
        from bulk_export.output.manifest import read_manifest

        for name, endpoint in read_manifest(earlier)["endpoints"].items():
            counted = endpoint.get("records") if isinstance(endpoint, dict) else None
            if isinstance(counted, int):
                known[name] = counted
    names = [endpoint.name for endpoint in endpoints]
    for text in given:
        name, equals, number = text.rpartition("=")
        if not _COUNT.fullmatch(number) or (equals and name not in names):
            raise UsageError(f"{text!r} is not a number of records of these endpoints.", next_step=advice)
        known.update({name: int(number)} if equals else dict.fromkeys(names, int(number)))
    return {name: known[name] for name in names if name in known}
