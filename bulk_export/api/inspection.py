"""A first look at a service: its records, its description, what works, what is used, and what an export costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

import pyarrow as pa

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.api.event_loop import fetched, run
from bulk_export.api.option_help import shows_options
from bulk_export.core.model import Service
from bulk_export.extract.certificates import ca_file_of
from bulk_export.extract.rate_limit.usage import LimitUsage, read_usage
from bulk_export.pipelines.arguments import BudgetArguments
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.description_file import ServiceDescription, describe_spec
from bulk_export.pipelines.doctor import Finding, diagnose
from bulk_export.pipelines.head import first_records, head_options
from bulk_export.pipelines.inspection_arguments import (
    DoctorArguments,
    HeadArguments,
    ListingArguments,
    PublishedArguments,
)
from bulk_export.pipelines.plan import Plan, PlanOptions, plan_of
from bulk_export.pipelines.plan_arguments import PlanArguments
from bulk_export.pipelines.published import published_changes
from bulk_export.pipelines.remote_descriptions import with_fetched_service
from bulk_export.progress.observer import Observer
from bulk_export.services.catalogue import choose_endpoints, load_service
from bulk_export.services.openapi import Change
from bulk_export.transform.schema import arrow_schema as schema_of


@checks_arguments
@shows_options(HeadArguments)
async def head(endpoint: str, *, observer: Observer | None = None, **options: Unpack[HeadArguments]) -> pa.RecordBatch:
    """Return the first records of an endpoint, by one request.

    Args:
        endpoint: Name of the endpoint.
        observer: Is notified of what happens.
        **options: The options of `bulk-export head` with underscores, and `token`.

    Returns:
        At most `limit` records, with the columns that a Parquet file of the endpoint would have.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    return await first_records(head_options(endpoint, **await with_fetched_service(options)), observer)


@checks_arguments
@shows_options(HeadArguments)
def run_head(endpoint: str, *, observer: Observer | None = None, **options: Unpack[HeadArguments]) -> pa.RecordBatch:
    """Run `head` in a program without an event loop."""
    return run("head", lambda: head(endpoint, observer=observer, **options))


@checks_arguments
@shows_options(DoctorArguments)
async def doctor(**options: Unpack[DoctorArguments]) -> list[Finding]:
    """Find what would keep an export from working: at most one request an endpoint.

    Args:
        **options: The options of `bulk-export doctor` with underscores, and `token`.

    Returns:
        What was found, in the order in which an export meets it.

    Raises:
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
    """
    return [finding async for finding in diagnose(**await with_fetched_service(options))]


@checks_arguments
@shows_options(DoctorArguments)
def run_doctor(**options: Unpack[DoctorArguments]) -> list[Finding]:
    """Run `doctor` in a program without an event loop."""
    return run("doctor", lambda: doctor(**options))


@checks_arguments
@shows_options(PlanArguments)
def plan(*names: str, endpoints: Sequence[str] = (), **options: Unpack[PlanArguments]) -> Plan:
    """Estimate the cost of an export, or of a sync: requests, time, and how each limit fills. Sends nothing.

    It computes for a moment. Only the description of a service, if `service` is its address, is fetched.

    Args:
        *names: Names of endpoints; with those in `endpoints`, all that are counted. All of the service if there are
            none.
        endpoints: More names.
        **options: The options of `bulk-export plan` with underscores. `records` and `changed` are a number for each
            endpoint, or numbers by endpoint.

    Returns:
        The cost.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: The earlier export, or the description, cannot be read.

    Example:
        plan("npq-applications", records=300_000).cost.seconds
    """
    return plan_of(PlanOptions.of([*names, *endpoints], **fetched(options)))


@checks_arguments
@shows_options(BudgetArguments)
def budget(**options: Unpack[BudgetArguments]) -> list[LimitUsage]:
    """Read how much of each limit is used, and when it comes free. Sends nothing, and blocks for a moment.

    Args:
        **options: The options of `bulk-export budget`.

    Returns:
        The use of each limit, by service, token and address; nothing if no request counts.

    Raises:
        UsageError: `budget` is no address of such a record.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        LocalFailure: The record cannot be used, or is damaged.
    """
    return read_usage(with_defaults(BudgetArguments, options)["budget"] or "sqlite://")


@checks_arguments
@shows_options(ListingArguments)
def endpoints(*names: str, **options: Unpack[ListingArguments]) -> Service:
    """Return what a service offers: endpoints with their filters, sorts and fields.

    Nothing is sent, unless `service` is the address of a description: then it is fetched, without a token.

    Args:
        *names: Names of endpoints; all if there are none.
        **options: The options of `bulk-export endpoints` with underscores.

    Returns:
        The description of the service with these endpoints. Iterating over it yields them.

    Raises:
        UsageError: There is no such service or endpoint, or the description cannot be used.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: The description cannot be fetched.

    Example:
        [endpoint.name for endpoint in endpoints(service="ecf")]
    """
    given = with_defaults(ListingArguments, fetched(options))
    service = load_service(given["service"], given["api_version"])
    return replace(service, endpoints=choose_endpoints(service, names))


@checks_arguments
@shows_options(ListingArguments)
def arrow_schema(endpoint: str, **options: Unpack[ListingArguments]) -> pa.Schema:
    """Return the columns that a Parquet file of an endpoint has.

    Args:
        endpoint: Name of the endpoint.
        **options: As for `endpoints`.

    Returns:
        The schema.

    Raises:
        UsageError: As for `endpoints`.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: The description cannot be fetched.
    """
    (described,) = endpoints(endpoint, **options)
    return schema_of(described)


@checks_arguments
@shows_options(PublishedArguments)
async def check_endpoints(**options: Unpack[PublishedArguments]) -> list[Change]:
    """Compare a description with the OpenAPI file that the service at an address publishes. No token is sent.

    Args:
        **options: The options of `bulk-export endpoints --check` with underscores.

    Returns:
        What the service publishes differently, beyond what is known; nothing if the description is up to date.

    Raises:
        UsageError: An option cannot be used as given.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: The published file cannot be fetched.
    """
    return await published_changes(**await with_fetched_service(options))


@checks_arguments
@shows_options(PublishedArguments)
def run_check_endpoints(**options: Unpack[PublishedArguments]) -> list[Change]:
    """Run `check_endpoints` in a program without an event loop."""
    return run("check_endpoints", lambda: check_endpoints(**options))


@checks_arguments
async def describe(
    spec: str | os.PathLike[str],
    *,
    name: str | None = None,
    allow_plain_http: bool = False,
    ca_file: str | os.PathLike[str] | None = None,
) -> ServiceDescription:
    """Make a description of a service from its OpenAPI file, to save, correct and pass as `service`.

    Args:
        spec: The file, or its address.
        name: Name of the service; from its title by default.
        allow_plain_http: Whether the file may be fetched unencrypted from beyond this machine.
        ca_file: Certificates of additional authorities to trust, in PEM.

    Returns:
        The description: its TOML is `.toml`.

    Raises:
        UsageError: The file cannot be read, or describes no list.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        BulkExportError: The file cannot be fetched.

    Example:
        Path("library.toml").write_text((await bulk_export.describe("openapi.yaml")).toml)
    """
    return await describe_spec(spec, name, allow_plain_http=allow_plain_http, ca_file=ca_file_of(ca_file))


@checks_arguments
def run_describe(
    spec: str | os.PathLike[str],
    *,
    name: str | None = None,
    allow_plain_http: bool = False,
    ca_file: str | os.PathLike[str] | None = None,
) -> ServiceDescription:
    """Run `describe` in a program without an event loop."""
    return run("describe", lambda: describe(spec, name=name, allow_plain_http=allow_plain_http, ca_file=ca_file))
