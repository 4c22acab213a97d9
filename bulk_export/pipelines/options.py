"""The options of an export, checked and resolved before anything is opened or sent.

The command line and the Python functions use it. Nothing here imports an HTTP client or Arrow.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bulk_export.core.credentials import Token, find_token
from bulk_export.core.daily_window import Window, window_of
from bulk_export.core.locations import local_path
from bulk_export.core.model import SCHEMA_MODES, Endpoint, Limit, Service
from bulk_export.core.units import parse_interval, parse_wait, parse_word
from bulk_export.errors import UsageError
from bulk_export.extract.certificates import ca_file_of
from bulk_export.extract.rate_limit.precedence import Rank
from bulk_export.output.run_arguments import RunArguments
from bulk_export.pipelines.arguments import AUTO, GONE, JOURNAL_COMPRESSIONS, LOCAL, ExportArguments
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.option_parsing import (
    LARGEST_PAGE,
    base_url_of,
    budget_of,
    count_of,
    formats_of,
    instant_of,
    limit_of,
    lineage_of,
    redaction_of,
    sample_of,
    share_of,
    sources_of,
    texts_of,
)
from bulk_export.pipelines.output_location import RemoteOutput, output_location
from bulk_export.pipelines.resume import resumable_arguments
from bulk_export.services.catalogue import choose_endpoints, load_service
from bulk_export.services.filters import lacking_filters, read_filters, since_value, with_required_filters, with_sort
from bulk_export.transform.redaction import Redaction

if TYPE_CHECKING:
    from bulk_export.extract.journal import Compression

_MOST_WORKERS = 256
_MOST_RETRIES = 100


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """A resolved request for an export.

    Args:
        base_url: None only for the bundled service.
        token: None only for the bundled service.
        formats: The compression of each format.
        service_limit: Limit over all addresses, before `share` is applied.
        ip_limit: Limit of each source address, before `share` is applied.
        min_interval: Seconds between two requests.
        sources: Local addresses to send from; None leaves the choice to the system.
        budget: URL of the store of sent requests.
        share: Fraction of both limits to use.
        gone: `keep` or `drop` records that disappear during a consistent export.
        window: When requests may be sent each day; None means always.
        max_wait: Longest wait in seconds to accept that the service announces.
        ca_file: Certificates of authorities to trust in addition to those of the system.
        asks_twice: Whether a consistent export repeats a request whose response held all records. A poll of `sync`
            leaves that to the next poll.
        left_out: Endpoints that an export of everything lacks, with the reason.
        work_dir: Directory of the working state; None keeps it in the output.
        journal_compression: How pages are kept that come uncompressed, until the export is finished.
        remote: Address in an object store that gets the export, too, or that alone gets it: then `output` is the
            directory of the working state.
        tries_page_sizes: Whether the size of pages is found out for each list; `page_size` is then where it begins.
        metrics: File for the numbers of the run.
        lineage: The file or the HTTP backend that gets the lineage of the run.
        otel: Whether spans of the run are sent by OpenTelemetry.
        with_report: Whether a report for people is written into the output at the end.
        limit: The most records of each endpoint, for a sample; None for all.
        sample_pages: How many pages these are.
        arguments: What was given, as `resume` needs it; None if a part of it cannot be kept.
        rank: The place among runs of this process that send from the same addresses; None for a run of its own.
    """

    service: Service
    endpoints: tuple[Endpoint, ...]
    environment: str | None
    base_url: str | None
    token: Token | None
    output: Path
    formats: Mapping[str, str]
    flatten: bool
    page_size: int
    workers: int
    retries: int
    service_limit: Limit
    ip_limit: Limit
    min_interval: float
    sources: tuple[str | None, ...]
    budget: str = field(repr=False)  # may hold the password of a Redis server
    share: float
    updated_since: datetime | None
    filters: tuple[tuple[str, str], ...]
    sort: str | None
    overwrite: bool
    keep_pages: bool
    consistent: bool
    gone: str
    schema: str
    redaction: Redaction
    drop_columns: tuple[str, ...]
    pseudonymised: tuple[str, ...]
    window: Window | None
    max_wait: float
    ca_file: Path | None
    asks_twice: bool = True
    left_out: tuple[tuple[str, str], ...] = ()
    work_dir: Path | None = None
    journal_compression: Compression = "lz4"
    csv_bom: bool = False
    csv_safe: bool = False
    tries_page_sizes: bool = False
    metrics: Path | None = None
    lineage: Path | str | None = None
    otel: bool = False
    with_report: bool = False
    limit: int | None = None
    sample_pages: int | None = None
    arguments: RunArguments | None = field(default=None, repr=False, compare=False)
    remote: RemoteOutput | None = None
    rank: Rank | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        endpoints: str | Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[ExportArguments],
    ) -> ExportOptions:
        """Check options and complete them by the declared defaults.

        Numbers, times and durations (in seconds) may be given as such or as text. `share` as a number is a
        fraction. Warns if something is allowed but surely not intended.

        Args:
            endpoints: Names of endpoints; all endpoints if there are none.
            environ: Environment variables to read the token from; by default those of the process.
            **options: See `ExportArguments`.

        Raises:
            UsageError: An option cannot be used as given.
            InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        """
        arguments = with_defaults(ExportArguments, options)
        service = arguments["service"]
        described = service if isinstance(service, Service) else load_service(service, arguments["api_version"])
        base_url = base_url_of(
            described, arguments["environment"], arguments["base_url"], allow_plain_http=arguments["allow_plain_http"]
        )
        selection = _Selection.of(described, [endpoints] if isinstance(endpoints, str) else endpoints, arguments)
        drop, pseudonymised = texts_of(arguments["drop_column"]), texts_of(arguments["pseudonymise"])
        location = output_location(arguments, described)
        tries_page_sizes = _tries_page_sizes(arguments)
        sample = sample_of(
            arguments["limit"],
            None if tries_page_sizes else arguments["page_size"],
            described.largest_page_size or LARGEST_PAGE,
            consistent=arguments["consistent"],
        )
        return cls(
            service=described,
            endpoints=selection.endpoints,
            environment=arguments["environment"],
            base_url=base_url,
            token=_token_of(arguments, os.environ if environ is None else environ),
            output=location.output,
            formats=formats_of(
                arguments["format"],
                arguments["compression"],
                flatten=arguments["flatten"],
                csv_bom=arguments["csv_bom"],
                csv_safe=arguments["csv_safe"],
            ),
            flatten=arguments["flatten"],
            csv_bom=arguments["csv_bom"],
            csv_safe=arguments["csv_safe"],
            page_size=sample.page_size,
            tries_page_sizes=tries_page_sizes,
            workers=count_of(arguments["workers"], "--workers", largest=_MOST_WORKERS),
            retries=count_of(arguments["retries"], "--retries", smallest=0, largest=_MOST_RETRIES),
            service_limit=limit_of(arguments["service_limit"], described.service_limit),
            ip_limit=limit_of(arguments["ip_limit"], described.ip_limit),
            min_interval=parse_interval(arguments["min_interval"]),
            sources=sources_of(arguments["source_address"]),
            budget=budget_of(arguments["budget"], arguments["environment"]),
            share=share_of(arguments["share"]),
            updated_since=selection.updated_since,
            filters=selection.filters,
            sort=arguments["sort"],
            overwrite=arguments["overwrite"],
            keep_pages=arguments["keep_pages"],
            consistent=arguments["consistent"],
            gone=_gone_of(arguments["gone"], consistent=arguments["consistent"]),
            schema=parse_word("--schema", arguments["schema"], SCHEMA_MODES),
            redaction=redaction_of(drop, pseudonymised, arguments["pseudonym_key_file"], selection.endpoints),
            drop_columns=drop,
            pseudonymised=pseudonymised,
            window=window_of(arguments["between"], arguments["timezone"]),
            max_wait=parse_wait(arguments["max_wait"]),
            ca_file=ca_file_of(arguments["ca_file"]),
            left_out=selection.left_out,
            work_dir=location.work_dir,
            journal_compression=_compression_of(arguments["journal_compression"]),
            remote=location.remote,
            limit=sample.limit,
            sample_pages=sample.pages,
            metrics=None if arguments["metrics"] is None else local_path(arguments["metrics"], "--metrics"),
            lineage=lineage_of(arguments["lineage"]),
            otel=arguments["otel"],
            with_report=_with_report_of(arguments["with_report"], location.remote),
            arguments=resumable_arguments(endpoints, arguments),
        )

    def filters_for(self, endpoint: Endpoint) -> list[tuple[str, str]]:
        """Return the filters to send to one endpoint; times in UTC with `Z` (service facts, "Filters")."""
        filters = list(self.filters)
        if self.updated_since is not None and endpoint.since is not None:
            filters.append((endpoint.since, since_value(endpoint, self.updated_since)))
        return filters


def _compression_of(text: str) -> Compression:
    return "none" if parse_word("--journal-compression", text, JOURNAL_COMPRESSIONS) == "none" else "lz4"


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which records to export: endpoints, filters and a time, which depend on each other."""

    endpoints: tuple[Endpoint, ...]
    filters: tuple[tuple[str, str], ...]
    updated_since: datetime | None
    left_out: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, service: Service, names: Sequence[str], arguments: ExportArguments) -> _Selection:
        listed = choose_endpoints(service, names)
        filters = read_filters(arguments["filter"], listed)
        since = instant_of(arguments["updated_since"])
        usable = with_required_filters(listed, filters, named=bool(names), by_time=since is not None)
        left_out = () if names else (*lacking_filters(listed, usable), *service.left_out)
        selected = with_sort(usable, arguments["sort"])
        if since is not None:
            _warn_of_endpoints_without_since(selected)
            if any(key in {endpoint.since for endpoint in selected} for key, _ in filters):
                raise UsageError(
                    "The time to export from is given twice.", next_step="Use --updated-since or --filter, not both."
                )
        return cls(endpoints=selected, filters=filters, updated_since=since, left_out=left_out)


def _warn_of_endpoints_without_since(endpoints: Iterable[Endpoint]) -> None:
    names = [endpoint.name for endpoint in endpoints if endpoint.since is None]
    if names:
        warnings.warn(
            f"{', '.join(names)} cannot be asked for changes only and will be exported whole", UserWarning, stacklevel=5
        )


def _token_of(arguments: ExportArguments, environ: Mapping[str, str]) -> Token | None:
    if arguments["token"] is not None:
        return Token(arguments["token"])
    if arguments["environment"] == LOCAL and arguments["token_file"] is None:
        return None
    return find_token(arguments["token_file"], environ)


def _with_report_of(given: bool, remote: RemoteOutput | None) -> bool:  # noqa: FBT001  # as it was given
    if given and remote is not None and not remote.keeps_local:
        raise UsageError(
            "--with-report writes into a directory, and this export is in an object store only.",
            next_step="Leave it out, or export to a directory with --publish for the address.",
        )
    return given


def _gone_of(given: str, *, consistent: bool) -> str:
    if parse_word("--gone", given, GONE) != GONE[0] and not consistent:
        raise UsageError("--gone drop requires --consistent.", next_step="Add --consistent.")
    return given


def _tries_page_sizes(arguments: Mapping[str, Any]) -> bool:
    """Whether `--page-size auto` was given. Raises UsageError if it does not go with another option."""
    if arguments["page_size"] != AUTO:
        return False
    for name in ("keep_pages", "limit"):
        if arguments[name]:
            raise UsageError(
                f"--page-size auto and --{name.replace('_', '-')} do not go together.",
                next_step="Give the number of records per page instead.",
            )
    return True


def refuse_trials(options: ExportOptions) -> None:
    """Refuse `--page-size auto` where only an export takes it. Raises UsageError."""
    if options.tries_page_sizes:
        raise UsageError("--page-size auto is for exports.", next_step="Give the number of records per page instead.")
