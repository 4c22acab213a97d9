"""Assets for Dagster: one for each endpoint of an export or of a copy, made by one run under the limits of the token.

    export_assets    each materialisation exports all endpoints, and replaces what an earlier one made
    sync_assets      each materialisation brings a copy up to date

Both assets of one token belong to a pool, of which Dagster runs one at a time if its limit is 1. A run that failed goes
on where it was when Dagster repeats it; what would fail again is not repeated.

Example:
    from bulk_export.dagster import export_assets
    npq = export_assets(environment="sandbox", output="/data/npq/{partition}", partitions_def=daily)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from bulk_export.api.copies import run_sync
from bulk_export.api.exports import run_export
from bulk_export.core.model import Endpoint
from bulk_export.core.text import counted
from bulk_export.errors import (
    BudgetUnavailable,
    BulkExportError,
    Interrupted,
    RemovalRefused,
    ServiceFailing,
    UsageError,
)
from bulk_export.pipelines.arguments import ExportArguments, SyncArguments
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.remote_descriptions import is_address
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import Counts, SyncSummary
from bulk_export.progress.events import ProgressEvent, RunProgress, WarningIssued
from bulk_export.progress.observer import EndpointSummary

try:
    from dagster import (
        AssetExecutionContext,
        AssetKey,
        AssetsDefinition,
        AssetSpec,
        Backoff,
        Failure,
        MaterializeResult,
        MetadataValue,
        PartitionsDefinition,
        RetryPolicy,
        multi_asset,
    )
except ImportError as error:
    raise ImportError("bulk_export.dagster needs Dagster 1.10 or newer: pip install 'bulk-export[dagster]'.") from error

POOL = "bulk_export"
# The next attempts come after 10, 20, 30, … minutes: a service that is away is back by then, or a person has to look.
RETRIES = RetryPolicy(max_retries=5, delay=600, backoff=Backoff.LINEAR)

_PARTITION = "{partition}"
# What is checked where a run has its secrets and its disk, and not where Dagster loads the definitions.
_OF_THE_RUN = frozenset({"token", "token_file", "pseudonymise", "pseudonym_key_file", "ca_file", "work_dir", "budget"})
_SECONDS_BETWEEN_LINES = 30.0


def export_assets(
    *names: str,
    endpoints: Sequence[str] = (),
    name: str = "bulk_export",
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    partitions_def: PartitionsDefinition[str] | None = None,
    pool: str | None = POOL,
    retry_policy: RetryPolicy | None = RETRIES,
    **options: Unpack[ExportArguments],
) -> AssetsDefinition:
    """Make assets of the endpoints of an export: each materialisation exports all of them into `output`.

    Args:
        *names: Names of endpoints; with those in `endpoints`, all that are exported. All of the service if there
            are none.
        endpoints: More names.
        name: The name of the step.
        key_prefix: What the keys of the assets begin with. They end with the name of the endpoint, with underscores.
        group_name: The group of the assets.
        partitions_def: Partitions, such as days, each with an export of its own: `output` holds `{partition}`. The
            service has no past, so each of them holds what there was when it was made.
        pool: The pool of the step: its limit is how many exports run at a time.
        retry_policy: When Dagster tries again, unless that is of no use.
        **options: The options of `bulk-export export` with underscores, and `token`. `overwrite` is True by default:
            materialising an asset again replaces it.

    Returns:
        The assets, of which all are materialised together, with numbers of records and bytes, and drift, as metadata.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    given: dict[str, Any] = {"overwrite": True, **options}
    place = _output(given, is_partitioned=partitions_def is not None)
    selected = [*names, *endpoints]
    listed = ExportOptions.of(selected, **_checked(given))

    def materialise(context: AssetExecutionContext) -> Iterator[MaterializeResult[Any]]:
        output = place(context)
        with _failures():
            summary = run_export(*selected, on_progress=_logged(context), **{**given, "output": output})
        for endpoint in summary.endpoints:
            metadata = {**_metadata(endpoint), "path": MetadataValue.path(f"{summary.output}/{endpoint.name}")}
            yield MaterializeResult(asset_key=_key(key_prefix, endpoint.name), metadata=metadata)

    return _assets(
        materialise,
        [_spec(key_prefix, endpoint, set(listed.formats)) for endpoint in listed.endpoints],
        name=name,
        group_name=group_name,
        partitions_def=partitions_def,
        pool=pool,
        retry_policy=retry_policy,
    )


def sync_assets(
    *names: str,
    endpoints: Sequence[str] = (),
    name: str = "bulk_export_copy",
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    pool: str | None = POOL,
    retry_policy: RetryPolicy | None = RETRIES,
    **options: Unpack[SyncArguments],
) -> AssetsDefinition:
    """Make assets of the tables of a copy: each materialisation brings all of them up to date.

    Args:
        *names: Names of endpoints; with those in `endpoints`, all that are copied. All of the service that identify
            their records if there are none.
        endpoints: More names.
        name: The name of the step.
        key_prefix: What the keys of the assets begin with. They end with the name of the endpoint, with underscores.
        group_name: The group of the assets.
        pool: The pool of the step: its limit is how many polls run at a time.
        retry_policy: When Dagster tries again, unless that is of no use.
        **options: The options of `bulk-export sync` with underscores, except for `every`, and `token`.

    Returns:
        The assets, of which all are materialised together, with what the poll changed as metadata.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    given: dict[str, Any] = dict(options)
    if given.get("every") is not None:
        raise UsageError(
            "A materialisation ends, so it takes no `every`.", next_step="Give the job a schedule instead."
        )
    _output(given, is_partitioned=False)
    selected = [*names, *endpoints]
    listed = SyncOptions.of(selected, **_checked(given)).full.endpoints

    def materialise(context: AssetExecutionContext) -> Iterator[MaterializeResult[Any]]:
        with _failures():
            summary = run_sync(*selected, on_progress=_logged(context), **given)
        for remark in summary.remarks:
            context.log.warning(remark)
        for endpoint in listed:
            yield MaterializeResult(
                asset_key=_key(key_prefix, endpoint.name), metadata=_poll_metadata(summary, endpoint.name)
            )

    return _assets(
        materialise,
        [_spec(key_prefix, endpoint, {given.get("format", "delta")}) for endpoint in listed],
        name=name,
        group_name=group_name,
        pool=pool,
        retry_policy=retry_policy,
    )


def _assets(
    materialise: Callable[[AssetExecutionContext], Iterator[MaterializeResult[Any]]],
    specs: Sequence[AssetSpec],
    **settings: Any,
) -> AssetsDefinition:
    # Dagster compares types, and does not evaluate the text of an annotation.
    materialise.__annotations__.update({"context": AssetExecutionContext, "return": Iterator})
    # Called rather than written as a decorator, which has no type where Dagster is not installed.
    made: AssetsDefinition = multi_asset(specs=specs, **settings)(materialise)
    return made


def _checked(given: dict[str, Any]) -> dict[str, Any]:
    """The options as far as they can be checked where the definitions are loaded, with a token that is none."""
    service = given.get("service")
    if isinstance(service, str) and is_address(service):
        raise UsageError(
            "Dagster loads definitions often, so the description of a service cannot be fetched for them.",
            next_step="Save it with `bulk-export describe`, and name the file.",
        )
    return {name: value for name, value in given.items() if name not in _OF_THE_RUN} | {"token": "-"}


def _output(given: dict[str, Any], *, is_partitioned: bool) -> Callable[[AssetExecutionContext], str]:
    """Return what says where the run of a context writes to."""
    if given.get("output") is None:
        raise UsageError("Assets need an output.", next_step="Name a directory, or an address in an object store.")
    output: str = os.fspath(given["output"])
    if is_partitioned != (_PARTITION in output):
        raise UsageError(
            f"Partitions and an output with {_PARTITION} belong together.",
            next_step=f"Give both, as in output='/data/npq/{_PARTITION}', or neither.",
        )
    if not is_partitioned:
        return lambda _: output

    def of_partition(context: AssetExecutionContext) -> str:
        key = context.partition_key
        if key in (".", "..") or "/" in key or "\\" in key or "\0" in key:
            raise UsageError(f"The partition {key!r} is no name of a directory.", next_step="Choose other partitions.")
        return output.replace(_PARTITION, key)

    return of_partition


def _spec(key_prefix: Sequence[str], endpoint: Endpoint, kinds: set[str]) -> AssetSpec:
    return AssetSpec(_key(key_prefix, endpoint.name), description=f"All records of {endpoint.path}", kinds=kinds)


def _key(key_prefix: Sequence[str], endpoint: str) -> AssetKey:
    return AssetKey([*([key_prefix] if isinstance(key_prefix, str) else key_prefix), endpoint.replace("-", "_")])


def _metadata(endpoint: EndpointSummary) -> dict[str, Any]:
    """The numbers of an endpoint, under Dagster's own names where it has them."""
    drift: dict[str, Any] = dict(endpoint.drift)
    return {
        "dagster/row_count": endpoint.records,
        "bytes": endpoint.bytes,
        "files": endpoint.files,
        "pages": endpoint.pages,
        "requests": endpoint.requests,
        "duplicates": endpoint.duplicates,
        "drift": MetadataValue.json(drift),
        "drifted_fields": sum(len(fields) for fields in drift.values()),
        "changed_during_export": endpoint.changed_during_export,
        "suspicious_end": endpoint.suspicious_end,
    }


def _poll_metadata(summary: SyncSummary, endpoint: str) -> dict[str, Any]:
    tables = [poll.tables[endpoint] for poll in summary.polls if endpoint in poll.tables]
    counts = {name: sum(getattr(table.counts, name) for table in tables) for name in Counts.__dataclass_fields__}
    versions = [table.version for table in tables if table.version is not None]
    return {
        **counts,
        "requests": sum(table.requests for table in tables),
        "polls": ", ".join(poll.kind for poll in summary.polls) or "none",
        **({"version": versions[-1]} if versions else {}),
    }


def _logged(context: AssetExecutionContext) -> Callable[[ProgressEvent], None]:
    """Return a callback that logs warnings, and now and then how far the run is."""
    last = -_SECONDS_BETWEEN_LINES

    def log(event: ProgressEvent) -> None:
        nonlocal last
        if isinstance(event, WarningIssued):
            context.log.warning(event.message)
        elif isinstance(event, RunProgress) and event.seconds - last >= _SECONDS_BETWEEN_LINES:
            last = event.seconds
            pages = counted(event.pages, "page")
            if event.end is not None:
                pages = f"{event.pages:,} of {counted(event.end, 'page')}"
            context.log.info(f"{pages}, {counted(event.records, 'record')}, {counted(event.requests, 'request')}")

    return log


@contextmanager
def _failures() -> Iterator[None]:
    """Turn errors into failures of Dagster: only what may pass by itself is tried again."""
    try:
        yield
    except BulkExportError as error:
        passes = isinstance(error, ServiceFailing | Interrupted | BudgetUnavailable)
        raise Failure(str(error), allow_retries=passes and not isinstance(error, RemovalRefused)) from None
