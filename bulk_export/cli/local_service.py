"""`bulk-export local-service`."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.reporting import hide_in_logs, set_debug
from bulk_export.cli.runner import with_fetched_service
from bulk_export.cli.streams import show
from bulk_export.errors import LocalFailure, UsageError

if TYPE_CHECKING:
    from bulk_export.core.model import Limit
    from bulk_export.services.local import LocalServiceSettings

# Headings of the help: three that all commands have, and two of its own.
_WHAT, _WHERE, _LIMITS = "What", "Where to", "Limits"
_RESPONSES, _FAULTS = "Responses", "Faults"
_FIRST_YEAR = 2022
_COUNT = re.compile(r"\d{1,9}", re.ASCII)


def local_service(
    host: Annotated[str, typer.Option("--host", rich_help_panel=_WHERE, help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", rich_help_panel=_WHERE, min=0, max=65535, help="Port to listen on; 0 for any free one."),
    ] = 8765,
    records: Annotated[
        list[str] | None,
        typer.Option(
            "--records",
            rich_help_panel=_WHAT,
            metavar="[ENDPOINT=]N",
            help="Number of records, for all endpoints; repeat for each. (2000)",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", rich_help_panel=_WHAT, help="Seed from which the records are generated.")
    ] = 0,
    newest: Annotated[
        str | None,
        typer.Option(
            "--newest",
            rich_help_panel=_WHAT,
            metavar="DAY",
            help="When the newest record was created, the first one being of September 2021."
            " (the first day of this month)",
        ),
    ] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", rich_help_panel=_LIMITS, help="Never answer 429.")] = False,
    windows: Annotated[
        str,
        typer.Option(
            "--windows",
            rich_help_panel=_LIMITS,
            metavar="fixed|rolling",
            help="Rate limit windows as implemented, or as documented.",
        ),
    ] = "fixed",
    retry_after: Annotated[
        bool, typer.Option("--retry-after", rich_help_panel=_LIMITS, help="Send Retry-After with a 429.")
    ] = False,
    latency: Annotated[
        str, typer.Option("--latency", rich_help_panel=_RESPONSES, metavar="TIME", help="Delay before each response.")
    ] = "0",
    latency_spread: Annotated[
        float,
        typer.Option(
            "--latency-spread",
            rich_help_panel=_RESPONSES,
            min=0,
            max=1,
            help="Random part of the latency, from 0 to 1.",
        ),
    ] = 0.0,
    gzip: Annotated[
        bool, typer.Option("--gzip", rich_help_panel=_RESPONSES, help="Compress responses for clients that accept it.")
    ] = False,
    error_rate: Annotated[
        float,
        typer.Option(
            "--error-rate", rich_help_panel=_FAULTS, min=0, max=1, metavar="RATE", help="Probability of a 5xx."
        ),
    ] = 0.0,
    reset_rate: Annotated[
        float,
        typer.Option(
            "--reset-rate",
            rich_help_panel=_FAULTS,
            min=0,
            max=1,
            metavar="RATE",
            help="Probability of a reset connection.",
        ),
    ] = 0.0,
    truncate_rate: Annotated[
        float,
        typer.Option(
            "--truncate-rate",
            rich_help_panel=_FAULTS,
            min=0,
            max=1,
            metavar="RATE",
            help="Probability of a truncated body.",
        ),
    ] = 0.0,
    garbage_rate: Annotated[
        float,
        typer.Option(
            "--garbage-rate",
            rich_help_panel=_FAULTS,
            min=0,
            max=1,
            metavar="RATE",
            help="Probability of HTML instead of JSON.",
        ),
    ] = 0.0,
    churn: Annotated[
        float,
        typer.Option(
            "--churn",
            rich_help_panel=_FAULTS,
            min=0,
            max=1,
            metavar="RATE",
            help="Probability of a change of the data per request.",
        ),
    ] = 0.0,
    **line: Any,
) -> None:
    """Run the bundled stand-in for the service. The token is BULK_EXPORT_TOKEN, or one that is shown."""
    set_debug(debug=line["debug"])

    import anyio

    from bulk_export.core.credentials import TOKEN_VARIABLE
    from bulk_export.core.masking import Masker
    from bulk_export.core.units import parse_duration, parse_limit
    from bulk_export.pipelines.connection import LOCAL_TOKEN
    from bulk_export.services.catalogue import load_service
    from bulk_export.services.local import LocalServiceSettings
    from bulk_export.services.local.settings import BUNDLED_SETTLES_AFTER, start_of_month

    given = with_fetched_service({"service": line["service"] or "npq", "api_version": line["api_version"]})
    described = load_service(given["service"], given["api_version"])
    if windows not in ("fixed", "rolling"):
        raise UsageError(f"There are no {windows!r} windows.", next_step="Choose from: fixed, rolling.")
    for_all, by_endpoint = _record_counts(records or [], [endpoint.name for endpoint in described])

    def limit(given: str | None, default: Limit | None) -> Limit | None:
        return None if no_limits else parse_limit(given) if given else default

    token = os.environ.get(TOKEN_VARIABLE)
    if token:
        hide_in_logs(Masker(token).mask)
    chosen: dict[str, Any] = {"records": for_all} if for_all is not None else {}
    settings = LocalServiceSettings(
        service=described,
        token=token or LOCAL_TOKEN,
        records_by_endpoint=by_endpoint,
        seed=seed,
        newest=start_of_month(time.time()) if newest is None else _day(newest),
        settles_after=BUNDLED_SETTLES_AFTER,
        service_limit=limit(line["service_limit"], described.service_limit),
        ip_limit=limit(line["ip_limit"], described.ip_limit),
        windows="fixed" if windows == "fixed" else "rolling",
        retry_after=retry_after,
        latency=parse_duration(latency, "a latency"),
        latency_spread=latency_spread,
        gzip=gzip,
        error_rate=error_rate,
        reset_rate=reset_rate,
        truncate_rate=truncate_rate,
        garbage_rate=garbage_rate,
        churn=churn,
        **chosen,
    )
    anyio.run(_serve, settings, host, port, f"the one in {TOKEN_VARIABLE}" if token else LOCAL_TOKEN)


async def _serve(settings: LocalServiceSettings, host: str, port: int, token: str) -> None:
    from bulk_export.core.compat.signals import received_signals
    from bulk_export.services.local import serving

    try:
        with received_signals(signal.SIGINT, signal.SIGTERM) as signals:
            async with serving(settings, host, port) as service:
                show(
                    f"serving {settings.service.name} {settings.service.version} on {service.base_url}, token: {token}"
                )
                async for _ in signals:
                    return
    except OSError as error:
        raise LocalFailure(
            f"Nothing can listen on {host} port {port}: {error.strerror}.", next_step="Choose another --port."
        ) from None


def _day(text: str) -> float:
    """Parse a day after the first records. Returns when it begins, in seconds since the epoch."""
    from datetime import UTC, datetime

    try:
        moment = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or moment.year < _FIRST_YEAR:
        raise UsageError(f"{text!r} is not a day from {_FIRST_YEAR} on.", next_step="Write --newest 2026-09-01.")
    return moment.timestamp()


def _record_counts(given: list[str], names: list[str]) -> tuple[int | None, dict[str, int]]:
    """Parse `N` for all endpoints and `ENDPOINT=N` for one."""
    for_all: int | None = None
    by_endpoint: dict[str, int] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        if not _COUNT.fullmatch(number) or (equals and name not in names):
            raise UsageError(
                f"{text!r} is not a number of records.", next_step="Write --records 5000 or --records statements=40."
            )
        if equals:
            by_endpoint[name] = int(number)
        else:
            for_all = int(number)
    return for_all, by_endpoint
