"""What would keep an export from working: looked at in the order in which an export meets it.

One request is sent for each endpoint, under the rate limits, and none after the service could not be reached. Findings
never hold a secret.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

import anyio
import anyio.to_thread
from yarl import URL

from bulk_export.core.clock import seconds_ahead
from bulk_export.core.kernel_library import decoder_name
from bulk_export.core.text import counted
from bulk_export.core.version import __version__
from bulk_export.errors import BulkExportError, LocalFailure, ServiceFailing, UsageError
from bulk_export.extract.connections import BadProxy, find_proxy
from bulk_export.extract.rate_limit.published_limits import PublishedLimit
from bulk_export.extract.rate_limit.usage import read_usage
from bulk_export.pipelines.arguments import LOCAL
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.head import first_page
from bulk_export.pipelines.inspection_arguments import DoctorArguments
from bulk_export.pipelines.options import ExportOptions
from bulk_export.progress.observer import Observer

OK, WARNING, FAILURE = "ok", "warning", "failure"
_LEAST_ROOM = 1 << 30
_SKEW = 300.0
_NO_PROXY = "none"
# An announced limit that is lower by less than this is the same one.
_NEARLY = 0.999
# Packages that extras bring, by extra.
_EXTRAS = {
    "speed": "isal",
    "redis": "redis",
    "delta": "deltalake",
    "check": "duckdb",
    "postgres": "adbc_driver_postgresql",
    "cloud": "obstore",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        subject: What was looked at.
        state: `ok`, `warning` or `failure`.
        detail: What was found, as a clause.
        next_step: What to do about it, if anything.
        exit_code: The exit code that an export would have; 0 unless it is a failure.
    """

    subject: str
    state: str
    detail: str
    next_step: str = ""
    exit_code: int = 0

    @classmethod
    def of_error(cls, subject: str, error: BulkExportError) -> Finding:
        """The finding that an error stands for."""
        return cls(subject, FAILURE, error.what, error.next_step, error.exit_code)


async def diagnose(
    *, environ: Mapping[str, str] | None = None, **options: Unpack[DoctorArguments]
) -> AsyncIterator[Finding]:
    """Look at what an export needs.

    Args:
        environ: Environment variables to read the token from; by default those of the process.
        **options: The options of `bulk-export doctor` with underscores.

    Yields:
        The findings, each as soon as it is there.

    Raises:
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    given: dict[str, Any] = dict(with_defaults(DoctorArguments, options))
    yield _versions()
    yield await anyio.to_thread.run_sync(_disk, Path(given["output"]))
    try:
        resolved = ExportOptions.of(environ=environ, **given)
    except UsageError as error:
        yield Finding.of_error("options", error)
        return
    yield await anyio.to_thread.run_sync(_budget, resolved)
    if resolved.base_url is not None:
        url = URL(resolved.base_url)
        address = await _address(url)
        proxy = _proxy(url)
        yield address
        yield proxy
        # A proxy resolves names itself.
        if proxy.state == FAILURE or (address.state == FAILURE and proxy.detail == _NO_PROXY):
            return
    else:
        yield Finding("address", OK, "the bundled service")
    async for finding in _endpoints(resolved):
        yield finding


def _versions() -> Finding:
    installed = [extra for extra, package in _EXTRAS.items() if importlib.util.find_spec(package) is not None]
    python = f"Python {platform.python_version()} on {sys.platform}"
    extras = f"extras: {', '.join(installed) or 'none'}"
    return Finding("versions", OK, f"bulk-export {__version__}, decoder {decoder_name()}, {python}, {extras}")


def _disk(output: Path) -> Finding:
    directory = output.absolute()
    while not directory.exists():
        directory = directory.parent
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        failure = LocalFailure(
            f"{directory} cannot be looked at: {error.strerror}", next_step="Choose another --output."
        )
        return Finding.of_error("disk", failure)
    if not directory.is_dir() or not os.access(directory, os.W_OK | os.X_OK):
        failure = LocalFailure(f"{directory} cannot be written to", next_step="Choose another --output.")
        return Finding.of_error("disk", failure)
    detail = f"{free / 1e9:,.1f} GB free in {directory}"
    return Finding("disk", OK if free >= _LEAST_ROOM else WARNING, detail)


def _budget(options: ExportOptions) -> Finding:
    try:
        usages = read_usage(options.budget)
    except BulkExportError as error:
        return Finding.of_error("budget", error)
    used = ", ".join(
        f"{usage.used:,} of {usage.limit.requests:,} from {usage.address or 'the service'}"
        for usage in usages
        if usage.used
    )
    return Finding("budget", OK, f"{used} used now" if used else "nothing is used now")


async def _address(url: URL) -> Finding:
    host, port = url.host or "", url.port or 443
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        failure = ServiceFailing(
            f"the host name {host} cannot be resolved ({error.strerror or error})",
            next_step="Check --base-url, and the DNS of this machine.",
        )
        return Finding.of_error("address", failure)
    addresses = sorted({str(entry[4][0]) for entry in found})
    return Finding("address", OK, f"{host} is {', '.join(addresses)}")


def _proxy(url: URL) -> Finding:
    try:
        proxy = find_proxy(url)
    except BadProxy as error:
        return Finding.of_error("proxy", UsageError(str(error), next_step="Correct the variable."))
    return Finding("proxy", OK, _NO_PROXY if proxy is None else f"{proxy.url.host}:{proxy.url.port}")


async def _endpoints(options: ExportOptions) -> AsyncIterator[Finding]:
    """Request one record of each endpoint, until the service cannot be reached or refuses the token."""
    warnings: list[str] = []

    class Warned(Observer):
        """Keeps warnings."""

        def warned(self, message: str) -> None:
            """Keep it."""
            warnings.append(message)

    dates: list[float] = []
    limits: dict[PublishedLimit, None] = {}
    for endpoint in options.endpoints:
        one = replace(options, endpoints=(endpoint,), page_size=1, retries=0, max_wait=0.0)
        before = datetime.now(UTC)
        try:
            page = await first_page(one, Warned())
        except BulkExportError as error:
            yield Finding.of_error(endpoint.name, error)
            if isinstance(error, ServiceFailing | LocalFailure):
                return
            continue
        limits |= dict.fromkeys(page.limits)
        now = datetime.now(UTC)
        ahead = seconds_ahead(page.date, now)
        if ahead is not None:
            dates.append(ahead)
        answer = "answers" if page.records.num_rows else "answers, and lists nothing"
        yield Finding(endpoint.name, OK, f"{answer}, in {(now - before).total_seconds():.2f} s")
    for message in dict.fromkeys(warnings):
        yield Finding("service", WARNING, message)
    if limits:
        yield _limits(list(limits), options)
    if dates and options.environment != LOCAL:
        skew = max(dates, key=abs)
        apart = f"the service's clock is {abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} ours"
        yield Finding("clock", WARNING if abs(skew) > _SKEW else OK, apart)


def _limits(published: Sequence[PublishedLimit], options: ExportOptions) -> Finding:
    """What the service announces; a warning if that is less than what is kept to."""
    strictest = min((limit for limit in published if _rate(limit) is not None), key=_rate_of, default=None)
    latest = {(limit.requests, limit.period): limit for limit in published}
    detail = f"the service announces {'; '.join(map(_limit_text, latest.values()))}"
    kept = min(limit.requests / limit.period for limit in (options.service_limit, options.ip_limit)) * options.share
    if strictest is None or _rate_of(strictest) >= kept * _NEARLY:
        return Finding("limits", OK, detail)
    advice = f"--service-limit {strictest.requests}/{strictest.period}s keeps to it"
    return Finding("limits", WARNING, f"{detail}, which is less than what is kept to", advice)


def _rate(limit: PublishedLimit) -> float | None:
    return limit.requests / limit.period if limit.requests and limit.period else None


def _rate_of(limit: PublishedLimit) -> float:
    return _rate(limit) or 0.0


def _limit_text(limit: PublishedLimit) -> str:
    """A limit as a clause: `1000 requests in 300 s, 998 left, more in 12 s`."""
    parts = [] if limit.requests is None else [counted(limit.requests, "request")]
    if parts and limit.period is not None:
        parts = [f"{parts[0]} in {limit.period} s"]
    parts += [] if limit.remaining is None else [f"{limit.remaining:,} left"]
    parts += [] if limit.reset_in is None else [f"more in {limit.reset_in} s"]
    return ", ".join(parts)
