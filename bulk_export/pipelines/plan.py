"""The cost of an export or a sync: from the options of `bulk-export plan` to estimates. Nothing is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

from bulk_export.core.units import parse_duration, seconds_of
from bulk_export.errors import UsageError
from bulk_export.output.manifest import read_manifest
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import require_stored_manifest
from bulk_export.output.object_store.url import StoreUrl, parse_location
from bulk_export.pipelines.arguments import LOCAL, ExportArguments
from bulk_export.pipelines.declarations import declarations, with_defaults
from bulk_export.pipelines.estimate import Cost, estimate
from bulk_export.pipelines.option_parsing import LARGEST_PAGE
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.page_size_advice import PageSizeAdvice, page_size_advice
from bulk_export.pipelines.plan_arguments import PlanArguments
from bulk_export.pipelines.request_counts import EndpointLoad, full_load, poll_load
from bulk_export.services.catalogue import load_service
from bulk_export.services.local.settings import BUNDLED_RECORDS

_COUNT = re.compile(r"\d{1,12}", re.ASCII)
# Months under the limits of the service, and some seconds to simulate.
_MOST_REQUESTS = 300_000
_PASSED_ON = declarations(ExportArguments).keys() & declarations(PlanArguments).keys() - {
    "service",
    "api_version",
    "environment",
    "base_url",
}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """A resolved request for an estimate.

    Args:
        export: The export to estimate.
        records: Number of records by endpoint, as far as they are known.
        changed: Number of records that change between two polls, by endpoint; None estimates an export.
        poll_page_size: Page size of polls for changes.
        latency: Seconds from a request to its response.
    """

    export: ExportOptions
    records: Mapping[str, int]
    changed: Mapping[str, int] | None
    poll_page_size: int
    latency: float

    @classmethod
    def of(cls, endpoints: str | Sequence[str] = (), **options: Unpack[PlanArguments]) -> PlanOptions:
        """Check options and complete them by the declared defaults.

        Raises:
            UsageError: An option cannot be used as given.
            InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        """
        arguments = with_defaults(PlanArguments, options)
        if arguments["changed"] and not arguments["sync"]:
            raise UsageError("--changed is for --sync.", next_step="Add --sync, or leave --changed out.")
        given = arguments["latency"]
        latency = parse_duration(given if isinstance(given, str) else f"{seconds_of(given, ''):f}", "a latency")
        service = arguments["service"]
        described = load_service(service, arguments["api_version"])
        # Nothing is sent, so no address and no token are needed, nor are filters, which could only reduce the cost.
        unfiltered = replace(described, endpoints=tuple(replace(endpoint, requires=()) for endpoint in described))
        shared: dict[str, Any] = {name: value for name, value in arguments.items() if name in _PASSED_ON}
        export = ExportOptions.of(endpoints, environment=LOCAL, service=unfiltered, **shared)
        names = [endpoint.name for endpoint in export.endpoints]
        records = _earlier_counts(arguments["like"], names) | _counts(arguments["records"], names, "--records")
        if arguments["environment"] == LOCAL and not arguments["base_url"]:
            records = dict.fromkeys(names, BUNDLED_RECORDS) | records
        if export.tries_page_sizes:
            # What it comes to where the service answers well.
            export = replace(export, page_size=described.largest_page_size or LARGEST_PAGE)
        usual = export.page_size if arguments["page_size"] is not None else described.default_page_size
        return cls(
            export=export,
            records=records,
            changed=_counts(arguments["changed"], names, "--changed") if arguments["sync"] else None,
            poll_page_size=min(export.page_size, usual),
            latency=latency,
        )

    @property
    def unknown(self) -> list[str]:
        """The endpoints whose number of records is not known; they are counted as empty."""
        return [endpoint.name for endpoint in self.export.endpoints if endpoint.name not in self.records]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export, or a sync, would cost.

    Attributes:
        cost: The cost of an export, or with `sync` of fetching everything once.
        poll: With `sync`, the cost of a poll for changes.
        records: The number of records by endpoint, as far as it is known.
        unknown: Endpoints whose number of records is not known. They are counted as empty.
        page_size: The size of the pages.
        advice: What larger pages would save, None if nothing worth saying.
    """

    cost: Cost
    poll: Cost | None
    records: Mapping[str, int]
    unknown: tuple[str, ...]
    page_size: int
    advice: PageSizeAdvice | None


def plan_of(options: PlanOptions) -> Plan:
    """Estimate a cost, with what an export could do better. Raises UsageError as `plan_costs` does."""
    cost, *polls = plan_costs(options).values()
    advice = None
    if options.changed is None:
        advice = page_size_advice(options.export, options.records, latency=options.latency)
    poll = polls[0] if polls else None
    return Plan(cost, poll, options.records, tuple(options.unknown), options.export.page_size, advice)


def plan_costs(options: PlanOptions) -> dict[str, Cost]:
    """Estimate the cost of an export (`requests`), or of a `full sync` and of `a poll`.

    Raises:
        UsageError: There would be too many requests to simulate.
    """
    export = options.export
    return {
        title: estimate(
            load,
            service_limit=export.service_limit.scaled(export.share),
            ip_limit=export.ip_limit.scaled(export.share),
            sources=len(export.sources),
            min_interval=export.min_interval,
            latency=options.latency,
            workers=export.workers,
        )
        for title, load in plan_loads(options).items()
    }


def plan_loads(options: PlanOptions) -> dict[str, dict[str, EndpointLoad]]:
    """Return what is fetched from each endpoint, under the titles of `plan_costs`. Raises UsageError as that does."""
    export = options.export
    full = full_load(
        export.endpoints,
        options.records,
        export.page_size,
        consistent=export.consistent or options.changed is not None,
    )
    if export.sample_pages is not None:
        full = {name: replace(load, sample_pages=export.sample_pages) for name, load in full.items()}
    loads = {"requests": full}
    if options.changed is not None:
        sizes = export.page_size, options.poll_page_size
        loads = {"full sync": full, "a poll": poll_load(export.endpoints, options.records, options.changed, sizes)}
    _refuse_too_many(loads.values())
    return loads


def _refuse_too_many(loads: Iterable[Mapping[str, EndpointLoad]]) -> None:
    if any(sum(endpoint.requests for endpoint in load.values()) > _MOST_REQUESTS for load in loads):
        raise UsageError(
            f"That would take more than {_MOST_REQUESTS:,} requests, which is too many to simulate.",
            next_step="Choose a larger --page-size, up to 3000, or fewer endpoints.",
        )


def _earlier_counts(directory: str | os.PathLike[str] | None, names: Sequence[str]) -> dict[str, int]:
    """Read the numbers of records from the manifest of an earlier export."""
    if directory is None:
        return {}
    found = {}
    for name, endpoint in _earlier_manifest(directory)["endpoints"].items():
        records = endpoint.get("records") if isinstance(endpoint, dict) else None
        if name in names and isinstance(records, int):
            found[name] = records
    return found


def _earlier_manifest(directory: str | os.PathLike[str]) -> Mapping[str, Any]:
    location = parse_location(directory)
    if isinstance(location, StoreUrl):
        return require_stored_manifest(ObjectStore(location, kept="")).manifest
    return read_manifest(location)


def _counts(given: int | Iterable[str] | Mapping[str, int], names: Sequence[str], option: str) -> dict[str, int]:
    """Parse numbers of records from `ENDPOINT=N`, or `N` for all endpoints; later ones win."""
    counts: dict[str, int] = {}
    for text in _count_texts(given):
        name, equals, number = text.rpartition("=")
        if not _COUNT.fullmatch(number) or (equals and name not in names):
            raise UsageError(
                f"{text!r} is not a number of records of these endpoints.",
                next_step=f"Write {option} 50000 or {option} npq-applications=50000;"
                " --like DIR takes an earlier export's.",
            )
        counts.update({name: int(number)} if equals else dict.fromkeys(names, int(number)))
    return counts


def _count_texts(given: int | Iterable[str] | Mapping[str, int]) -> list[str]:
    if isinstance(given, int):
        return [str(given)]
    if isinstance(given, Mapping):
        return [f"{name}={number}" for name, number in given.items()]
    return [given] if isinstance(given, str) else list(given)
