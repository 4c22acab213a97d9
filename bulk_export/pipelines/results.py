"""What a finished conversion amounts to: the manifest's part on each endpoint, and the numbers for display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from bulk_export.output.manifest import EndpointResult
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.progress.observer import EndpointSummary, ExportSummary
from bulk_export.transform import schema
from bulk_export.transform.decode import Drift

_MOST_NAMED = 20
_COUNTED = {one.name for one in fields(ExportSummary)} - {"output", "endpoints", "seconds"}


def endpoint_result(
    conversion: EndpointConversion, *, requests: int, backwards: int, consistent: bool
) -> EndpointResult:
    """One endpoint as the manifest states it.

    `requests` is what it cost, `backwards` how often a page began before the end of the one in front of it, and
    `consistent` whether sweeps were to go on until two agree.
    """
    sequence, plan, revision = conversion.sequence, conversion.sweep.plan, conversion.revision
    drift = Drift()
    for part in sequence.parts:
        drift.add(Drift.from_json(part.drift))
    signs = {
        "short_pages": len(plan.short_pages()),
        "duplicates": conversion.duplicates,
        "backwards": backwards,
        "suspicious_end": int(conversion.sweep.has_suspicious_end),
        "mixed_page_sizes": int(plan.is_mixed),
        "stray_answers": int(conversion.sweep.has_stray_answers),
        "repeated_pages": conversion.sweep.repeated_pages,
    }
    more: dict[str, Any] = {}
    if revision is not None and revision.swept_again:
        more = {"swept_again": revision.swept_again, "recovered": revision.recovered, "changed": revision.changed}
        more["gone"] = revision.gone
        if consistent:
            signs |= {name: more[name] for name in ("recovered", "changed", "gone")}
        elif revision.settled:
            signs = {"suspicious_end": signs["suspicious_end"]}
        if revision.settled:
            # Two sweeps saw the same, so these pages do hold the same.
            signs["repeated_pages"] = 0
    if revision is not None and revision.shared:
        more["shared_ids"] = revision.shared
    if plan.ends_at_usual_cap and not any(count for name, count in signs.items() if name != "suspicious_end"):
        # Nothing says that it changed, only that it may not be all.
        more["changed_during_export"] = False
    if plan.clamp is not None:
        more["clamped"] = plan.clamp
    if conversion.sweep.longest_beyond:
        more["larger_pages"] = conversion.sweep.longest_beyond
    if consistent:
        more["consistent"] = revision is not None and revision.settled
    return EndpointResult(
        name=conversion.sweep.endpoint.name,
        records=sequence.rows,
        pages=plan.pages,
        duplicates=conversion.duplicates,
        requests=requests,
        schema=schema.describe(sequence.schema),
        drift=drift.to_json(),
        files=[file for part in sequence.parts for file in part.files],
        signs_of_change={name: count for name, count in signs.items() if count},
        more=more,
    )


def not_exported_text(left_out: Sequence[tuple[str, str]]) -> str:
    """A warning that names the lists that an export of everything lacks, with the reasons."""
    named = [f"{name} ({reason})" for name, reason in left_out[:_MOST_NAMED]]
    more = len(left_out) - len(named)
    named += [f"and {more} more, which manifest.json names"] if more else []
    lists = "1 list was" if len(left_out) == 1 else f"{len(left_out)} lists were"
    return f"{lists} not exported: {'; '.join(named)}"


def staged_files(conversions: Sequence[EndpointConversion]) -> dict[str, Path]:
    """Where each finished part lies now, by its path in the manifest."""
    return {
        file.path: conversion.sequence.folder / Path(file.path).name
        for conversion in conversions
        for part in conversion.sequence.parts
        for file in part.files
    }


def summarise(manifest: Mapping[str, Any], output: Path, seconds: float) -> ExportSummary:
    """The numbers of a manifest, for display."""
    return ExportSummary(
        output=output,
        endpoints=[
            EndpointSummary(
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
                **{name: endpoint.get(name, 0) for name in ("recovered", "changed", "gone", "shared_ids")},
            )
            for name, endpoint in manifest["endpoints"].items()
        ],
        seconds=seconds,
        # Another version may have counted more.
        **{name: count for name, count in manifest["run"].items() if name in _COUNTED},
    )
