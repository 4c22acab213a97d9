"""The results of a run: its identity and parameters, the manifest of finished conversions, and numbers for display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bulk_export.core.clock import TOLERANCE, consensus, now_text
from bulk_export.core.model import INFER, LAX, Service, description_digest
from bulk_export.core.text import counted
from bulk_export.core.units import format_instant
from bulk_export.core.version import __version__
from bulk_export.extract.journal import JournalStore
from bulk_export.extract.order_check import count_backward_pages
from bulk_export.output.manifest import EndpointResult, RunCounters, build_manifest
from bulk_export.pipelines.arguments import AUTO
from bulk_export.pipelines.connection import service_name
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.journal_receiver import StoredCounters
from bulk_export.pipelines.options import ExportOptions
from bulk_export.progress.observer import EndpointSummary, ExportSummary
from bulk_export.services.catalogue import described_order
from bulk_export.transform.decode import Drift
from bulk_export.transform.schema import with_distinct_names

# Parameters of runs that write CSV; others have none of them.
CSV_PARAMETERS = ("csv_bom", "csv_safe")
_MOST_NAMED = 20
_COUNTER_NAMES = {counter.name for counter in fields(ExportSummary)} - {"output", "endpoints", "seconds", "sample"}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The facts about a whole run in a manifest.

    Attributes:
        consistent: Whether sweeps were to go on until two agree.
        requests: The number of requests for each endpoint; 0 for one that is missing.
        left_out: The lists that an export of everything lacks, each with the reason.
    """

    service: Service
    base_url: str
    parameters: Mapping[str, Any]
    started_at: str
    counters: RunCounters
    consistent: bool
    requests: Mapping[str, int]
    left_out: tuple[tuple[str, str], ...] = ()


def export_identity(options: ExportOptions) -> dict[str, Any]:
    """Return what must be equal in two runs for the second one to continue the first."""
    return {
        "version": __version__,
        "service": options.service.name,
        "api_version": options.service.version,
        "base_url": service_name(options),
        # A description may be edited between two runs; pages that were stored under one do not fit another.
        "description": description_digest(
            [with_distinct_names(endpoint) for endpoint in described_order(options.service, options.endpoints)]
        ),
        **export_parameters(options),
        "schema": resumable_schema(options.schema),
    }


def export_parameters(options: ExportOptions) -> dict[str, Any]:
    """Return the options that determine what is exported, as the manifest states them."""
    return {
        "endpoints": [endpoint.name for endpoint in described_order(options.service, options.endpoints)],
        "page_size": AUTO if options.tries_page_sizes else options.page_size,
        "filters": dict(options.filters),
        "sort": options.sort,
        "updated_since": format_instant(options.updated_since) if options.updated_since else None,
        "formats": dict(options.formats),
        "flatten": options.flatten,
        "drop_columns": list(options.drop_columns),
        "pseudonymise": list(options.pseudonymised),
        "pseudonym_key": options.redaction.key_id,
        "consistent": options.consistent,
        "gone": options.gone,
        "schema": options.schema,
        **({} if options.limit is None else {"sample": options.limit}),
        **csv_parameters(options.formats, bom=options.csv_bom, safe=options.csv_safe),
    }


def csv_parameters(formats: Mapping[str, str], *, bom: bool, safe: bool) -> dict[str, bool]:
    """Return the options of CSV among the parameters of a run; none if it writes no CSV."""
    return dict(zip(CSV_PARAMETERS, (bom, safe), strict=True)) if "csv" in formats else {}


def resumable_schema(mode: str) -> str:
    """Return what must be equal in the schema modes of two runs: a lax run may continue a strict one."""
    return INFER if mode == INFER else LAX


def export_manifest(
    options: ExportOptions, store: JournalStore, conversions: Sequence[EndpointConversion]
) -> dict[str, Any]:
    """Return the manifest of an export whose conversions are finished. Blocking."""
    stored = StoredCounters.read(store)
    requests = store.requests()
    ahead, agreeing = consensus(stored.clock_readings)
    is_far = ahead is not None and abs(ahead) > TOLERANCE
    facts = RunFacts(
        service=options.service,
        base_url=service_name(options),
        parameters=export_parameters(options),
        started_at=stored.started_at,
        counters=RunCounters(
            requests=sum(requests.values()),
            retries=stored.retries,
            throttled=stored.throttled,
            resumed=stored.resumed,
            server_clock_ahead=ahead,
            server_clock_answers=agreeing if is_far else None,
        ),
        consistent=options.consistent,
        requests=requests,
        left_out=options.left_out,
    )
    return manifest_of(facts, conversions, store)


def manifest_of(facts: RunFacts, conversions: Sequence[EndpointConversion], page_store: JournalStore) -> dict[str, Any]:
    """Return the manifest of finished conversions of the pages in `page_store`. Blocking."""
    return build_manifest(
        service=facts.service.name,
        api_version=facts.service.version,
        base_url=facts.base_url,
        parameters=facts.parameters,
        started_at=facts.started_at,
        finished_at=now_text(),
        endpoints=[_endpoint_result(conversion, facts, page_store) for conversion in conversions],
        run=facts.counters,
        not_exported=dict(facts.left_out),
    )


def staged_files(conversions: Sequence[EndpointConversion]) -> dict[str, Path]:
    """Return where each finished part file is now, by its path in the manifest."""
    return {
        file.path: conversion.parts.folder / Path(file.path).name
        for conversion in conversions
        for part in conversion.parts.parts
        for file in part.files
    }


def not_exported_text(left_out: Sequence[tuple[str, str]]) -> str:
    """Return a warning that names the lists that an export of everything lacks, with the reasons."""
    named = [f"{name} ({reason})" for name, reason in left_out[:_MOST_NAMED]]
    more = len(left_out) - len(named)
    named += [f"and {more} more, which manifest.json names"] if more else []
    lists = f"{counted(len(left_out), 'list')} {'was' if len(left_out) == 1 else 'were'}"
    return f"{lists} not exported: {'; '.join(named)}"


def summarise(manifest: Mapping[str, Any], output: Path | str, seconds: float) -> ExportSummary:
    """Return the numbers of a manifest for display; `seconds` is the wall time of this run."""
    sample = manifest.get("parameters", {}).get("sample")
    return ExportSummary(
        output=output,
        sample=sample if type(sample) is int else None,
        endpoints=[_endpoint_summary(name, endpoint) for name, endpoint in manifest["endpoints"].items()],
        seconds=seconds,
        # Another version may have counted more.
        **{name: count for name, count in manifest["run"].items() if name in _COUNTER_NAMES},
    )


def _endpoint_result(conversion: EndpointConversion, facts: RunFacts, page_store: JournalStore) -> EndpointResult:
    parts, name = conversion.parts, conversion.sweep.endpoint.name
    signs, more = _signs_of_change(
        conversion,
        page_store,
        consistent=facts.consistent,
        tries_page_sizes=facts.parameters.get("page_size") == AUTO,
    )
    drift = Drift()
    for part in parts.parts:
        drift.add(Drift.from_json(part.drift))
    return EndpointResult(
        name=name,
        records=parts.rows,
        pages=conversion.sweep.plan.pages,
        duplicates=conversion.duplicates,
        requests=facts.requests.get(name, 0),
        schema=parts.column_types,
        drift=drift.to_json(),
        files=[file for part in parts.parts for file in part.files],
        signs_of_change={sign: count for sign, count in signs.items() if count},
        more=more,
    )


def _signs_of_change(
    conversion: EndpointConversion, page_store: JournalStore, *, consistent: bool, tries_page_sizes: bool
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the counts that show that the data changed during the run, and the other keys of an endpoint."""
    sweep, plan, corrections = conversion.sweep, conversion.sweep.plan, conversion.corrections
    is_settled = corrections is not None and corrections.settled
    signs = {
        "short_pages": len(plan.short_pages()),
        "duplicates": conversion.duplicates,
        "backwards": count_backward_pages(page_store.edges(sweep.endpoint.name, 0)),
        "suspicious_end": int(sweep.has_suspicious_end),
        "mixed_page_sizes": int(plan.is_mixed),
        "stray_answers": int(sweep.has_stray_answers),
        "repeated_pages": sweep.repeated_pages,
    }
    more: dict[str, Any] = {}
    if tries_page_sizes:
        more["page_size"] = sweep.page_size
    if corrections is not None and corrections.swept_again:
        more |= {
            "swept_again": corrections.swept_again,
            "recovered": corrections.recovered,
            "changed": corrections.changed,
            "gone": corrections.gone,
        }
        if consistent:
            signs |= {name: more[name] for name in ("recovered", "changed", "gone")}
        elif is_settled:
            signs = {"suspicious_end": signs["suspicious_end"]}
        if is_settled:
            # Two sweeps saw the same, so these pages do hold the same records.
            signs["repeated_pages"] = 0
    if corrections is not None and corrections.shared:
        more["shared_ids"] = corrections.shared
    if plan.ends_at_usual_cap and not any(count for name, count in signs.items() if name != "suspicious_end"):
        # Nothing shows a change; the list may only be longer than what was read.
        more["changed_during_export"] = False
    if plan.clamp is not None:
        more["clamped"] = plan.clamp
    if sweep.longest_beyond:
        more["larger_pages"] = sweep.longest_beyond
    if consistent:
        more["consistent"] = is_settled
    return signs, more


def _endpoint_summary(name: str, endpoint: Mapping[str, Any]) -> EndpointSummary:
    return EndpointSummary(
        name=name,
        records=endpoint["records"],
        pages=endpoint["pages"],
        requests=endpoint["requests"],
        duplicates=endpoint["duplicates"],
        files=len(endpoint["files"]),
        bytes=sum(file["bytes"] for file in endpoint["files"]),
        drift=endpoint["drift"],
        changed_during_export=endpoint["changed_during_export"],
        consistent=endpoint.get("consistent"),
        suspicious_end="suspicious_end" in endpoint["signs_of_change"],
        **{count: endpoint.get(count, 0) for count in ("recovered", "changed", "gone", "shared_ids")},
    )
