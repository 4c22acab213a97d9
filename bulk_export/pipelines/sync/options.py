"""The options of a copy that is kept current, checked and resolved before anything is opened or sent."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Unpack

from bulk_export.core.locations import local_path
from bulk_export.core.units import parse_word
from bulk_export.core.urls import check_base_url
from bulk_export.errors import UsageError
from bulk_export.output.delta_files import check_path
from bulk_export.output.object_store.url import StoreUrl, parse_location
from bulk_export.pipelines.arguments import COPY_FORMATS, REMOVED, ExportArguments, PathText, SyncArguments
from bulk_export.pipelines.connection import LOCAL_TOKEN, service_name
from bulk_export.pipelines.declarations import declarations, with_defaults
from bulk_export.pipelines.load_options import LoadOptions
from bulk_export.pipelines.option_parsing import duration_of, lineage_of, output_of
from bulk_export.pipelines.options import ExportOptions, refuse_trials
from bulk_export.pipelines.output_location import working_directory
from bulk_export.services.base_url import normalize_base_url

# In the user's directory for state: the local copies of those in object stores.
_WORKING_COPIES = "copies"
_LEAST_HISTORY = timedelta(days=7)
# A copy has formats of its own.
_PASSED_ON = declarations(ExportArguments).keys() & declarations(SyncArguments).keys() - {
    "format",
    "metrics",
    "lineage",
    "otel",
    "with_report",
}


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """A resolved request to keep a copy in `output`.

    Args:
        full: How everything is fetched.
        changes: How changes are fetched: with the default page size of the service.
        full_every: Time between two full syncs.
        removed: `mark` or `delete` records that disappeared.
        compact: Whether to compact Delta tables after a poll.
        vacuum: Age from which versions of Delta tables are deleted after a poll; None keeps them.
        accepts_token: Whether another token is taken for one of the same provider.
        max_removed: Fraction of a table above which removals are refused, unless `accepts_removals`.
        moved_from: Address that the copy was made from, if the service has moved.
        every: Poll interval in seconds; None polls once.
        metrics: File for the numbers of the last run.
        lineage: The file or the HTTP backend that gets the lineage of each run.
        otel: Whether spans of each run are sent by OpenTelemetry.
        with_report: Whether a report for people is renewed in the copy's directory after each sync.
        remote: The address of the copy, if it is in an object store. `output` is then the local one that polls work on.
        load: The database to load into after each poll, and how.
    """

    full: ExportOptions
    changes: ExportOptions
    output: Path
    format: str
    full_every: timedelta
    removed: str
    compact: bool
    vacuum: timedelta | None
    accepts_token: bool
    max_removed: float = 0.1
    accepts_removals: bool = False
    moved_from: str | None = None
    every: float | None = None
    load: LoadOptions | None = None
    metrics: Path | None = None
    lineage: Path | str | None = None
    otel: bool = False
    with_report: bool = False
    remote: StoreUrl | None = None

    @classmethod
    def of(
        cls,
        endpoints: str | Sequence[str] = (),
        *,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[SyncArguments],
    ) -> SyncOptions:
        """Check options and complete them by the declared defaults.

        Durations may be given in seconds, `max_removed` as a fraction.

        Args:
            endpoints: Names of endpoints; all that identify their records if there are none.
            environ: Environment variables to read the token from; by default those of the process.
            **options: See `SyncArguments`.

        Raises:
            UsageError: An option cannot be used as given.
            InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        """
        arguments = with_defaults(SyncArguments, options)
        if arguments["output"] is None:
            raise UsageError("There is no directory for the copy.", next_step="Name it with --output.")
        shared: dict[str, Any] = {name: value for name, value in arguments.items() if name in _PASSED_ON}
        remote = _address_of(arguments["output"], arguments["format"])
        if remote is not None:
            shared["output"] = working_directory(remote, None, _WORKING_COPIES)
        full = ExportOptions.of(endpoints, environ=environ, consistent=True, gone="drop", **shared)
        refuse_trials(full)
        full = _with_ids(full, named=bool(endpoints))
        moved_from = None
        if arguments["moved_to"] is not None:
            moved_from = service_name(full)
            full = _moved(full, arguments["moved_to"], allow_plain_http=arguments["allow_plain_http"])
        usual = full.page_size if arguments["page_size"] is not None else full.service.default_page_size
        directory = output_of(shared["output"], full.service)
        if parse_word("--format", arguments["format"], COPY_FORMATS) == "delta":
            check_path(directory)
        elif arguments["compact"] or arguments["vacuum"] is not None:
            raise UsageError("Only Delta tables are compacted and cleaned.", next_step="Leave out --format parquet.")
        return cls(
            full=full,
            changes=replace(full, page_size=min(full.page_size, usual), asks_twice=False, left_out=()),
            output=directory,
            format=arguments["format"],
            full_every=duration_of(arguments["full_every"], "--full-every"),
            removed=parse_word("--removed", arguments["removed"], REMOVED),
            compact=arguments["compact"],
            vacuum=_vacuum_of(arguments["vacuum"]),
            accepts_token=arguments["accept_token"],
            max_removed=_max_removed_of(arguments["max_removed"]),
            accepts_removals=arguments["accept_removals"],
            moved_from=moved_from,
            every=_every_of(arguments["every"]),
            metrics=None if arguments["metrics"] is None else local_path(arguments["metrics"], "--metrics"),
            lineage=lineage_of(arguments["lineage"]),
            otel=arguments["otel"],
            with_report=_with_report_of(arguments["with_report"], remote),
            load=None
            if arguments["load"] is None
            else LoadOptions.of(directory, environ=environ, option="--load", to=arguments["load"]),
            remote=remote,
        )

    def identity(self) -> dict[str, Any]:
        """Return the options that distinguish this copy from others, except for the token."""
        return {
            "service": self.full.service.name,
            "api_version": self.full.service.version,
            "base_url": service_name(self.full),
            "filters": dict(self.full.filters),
            "format": self.format,
            "drop_columns": list(self.full.drop_columns),
            "pseudonymise": list(self.full.pseudonymised),
            "pseudonym_key": self.full.redaction.key_id,
        }

    def token_mark(self, key: bytes) -> str:
        """Return a keyed hash that distinguishes this token from others and reveals nothing without `key`."""
        secret = LOCAL_TOKEN if self.full.token is None else self.full.token.reveal()
        return hmac.digest(key, secret.encode(), hashlib.sha256).hex()[:16]


def _address_of(output: PathText, format_: str) -> StoreUrl | None:
    """The address of a copy in an object store; None for a directory."""
    location = parse_location(output)
    if not isinstance(location, StoreUrl):
        return None
    if format_ == "parquet":
        raise UsageError(
            "A copy in an object store consists of Delta tables.",
            next_step="Leave out --format parquet, or keep the copy in a directory.",
        )
    return location


def _moved(options: ExportOptions, moved_to: str, *, allow_plain_http: bool) -> ExportOptions:
    address = check_base_url(moved_to, allow_plain_http=allow_plain_http, option="--moved-to")
    if options.base_url is None:
        raise UsageError("The bundled service does not move.", next_step="Leave out --moved-to.")
    return replace(options, environment=None, base_url=normalize_base_url(options.service, address))


def _with_report_of(given: bool, remote: StoreUrl | None) -> bool:  # noqa: FBT001  # as it was given
    if given and remote is not None:
        raise UsageError(
            "--with-report writes into a directory, and this copy is in an object store.",
            next_step="Leave it out, or keep the copy in a directory.",
        )
    return given


def _every_of(given: str | float | timedelta | None) -> float | None:
    if given is None:
        return None
    seconds = duration_of(given, "--every").total_seconds()
    if seconds < 1:
        raise UsageError("--every must be a second at least.", next_step="Write it like 1h or 15m.")
    return seconds


def _vacuum_of(given: str | float | timedelta | None) -> timedelta | None:
    history = None if given is None else duration_of(given, "--vacuum")
    if history is not None and history < _LEAST_HISTORY:
        raise UsageError(
            "--vacuum must keep 7 days at least, for those who read them.", next_step="Write --vacuum 30d."
        )
    return history


def _with_ids(options: ExportOptions, *, named: bool) -> ExportOptions:
    """Leave out endpoints whose records nothing identifies. Raises UsageError if one was `named`."""
    kept = tuple(endpoint for endpoint in options.endpoints if endpoint.shape.id)
    lacking = [endpoint.name for endpoint in options.endpoints if not endpoint.shape.id]
    if lacking and (named or not kept):
        raise UsageError(
            f"Nothing identifies the records of {', '.join(lacking)}, so that a copy cannot follow them.",
            next_step="Name other endpoints, or export these each time.",
        )
    reason = "nothing identifies its records, so that a copy cannot follow them"
    return replace(options, endpoints=kept, left_out=(*options.left_out, *((name, reason) for name in lacking)))


def _max_removed_of(given: str | float) -> float:
    """A fraction from `10%` or `10` (both are percent), or from 0.1."""
    try:
        share = float(given.strip().removesuffix("%")) / 100 if isinstance(given, str) else float(given)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-removed cannot be {given!r}.", next_step="Write a share of the records, like 10%.")
    return share
