"""The summary of a finished export, as a table and remarks in plain text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from bulk_export.core.text import counted, times_text
from bulk_export.progress.observer import EndpointSummary, ExportSummary
from bulk_export.progress.tally import bytes_text, clock_text

_MOST_NAMES = 12


def summary_lines(summary: ExportSummary, width: int | None = None) -> list[str]:
    """A table of endpoints, and remarks below it. If the table is wider than `width`, it is a line for each row."""
    header = ("endpoint", "records", "files", "bytes", "requests")
    rows = [
        (
            endpoint.name,
            f"{endpoint.records:,}",
            f"{endpoint.files:,}",
            bytes_text(endpoint.bytes),
            f"{endpoint.requests:,}",
        )
        for endpoint in summary.endpoints
    ]
    total = (
        "total",
        f"{sum(endpoint.records for endpoint in summary.endpoints):,}",
        f"{sum(endpoint.files for endpoint in summary.endpoints):,}",
        bytes_text(sum(endpoint.bytes for endpoint in summary.endpoints)),
        f"{summary.requests:,}",
    )
    widths = [max(len(row[column]) for row in (header, *rows, total)) for column in range(len(header))]
    lines = [_row(row, widths) for row in (header, *rows, total)]
    if width is not None and max(map(len, lines)) > width:
        lines = [_sentence(row) for row in (*rows, total)]
    lines.append(
        f"{clock_text(summary.seconds)}, {counted(summary.requests, 'request')},"
        f" {counted(summary.retries, 'retry', 'retries')},"
        f" {'rate-limited ' + times_text(summary.throttled) if summary.throttled else 'never rate-limited'}"
        + (f", resumed {times_text(summary.resumed)}" if summary.resumed else "")
    )
    return lines + remarks(summary)


def finished_text(summary: ExportSummary) -> str:
    """The numbers of one finished export in a line."""
    records = sum(endpoint.records for endpoint in summary.endpoints)
    kind = "finished" if summary.sample is None else "finished, a sample"
    return (
        f"{kind}: {counted(records, 'record')}, {counted(summary.requests, 'request')}, {clock_text(summary.seconds)}"
    )


def remarks(summary: ExportSummary) -> list[str]:
    """What the user should know beyond the numbers; empty for an uneventful export."""
    lines = [] if summary.sample is None else [sample_text(summary.sample)]
    lines += [
        remark for endpoint in summary.endpoints for remark in (*_on_fields(endpoint), *_on_completeness(endpoint))
    ]
    if summary.throttled:
        lines.append("the service answered 429 although the limits were kept: someone else seems to use the token")
    if summary.advice:
        lines.append(f"next time, {summary.advice}")
    return lines


def sample_text(limit: int) -> str:
    """The remark that an export is a sample of so many records of each endpoint."""
    return f"a sample: at most {limit:,} record{'s' * (limit != 1)} of each endpoint, as --limit asks"


def completeness_remarks(summary: ExportSummary) -> list[str]:
    """The remarks that a record may be missing, or that one may not be what it seems: nothing hides these."""
    return [remark for endpoint in summary.endpoints for remark in _on_completeness(endpoint)]


def is_incomplete(endpoint: EndpointSummary) -> bool:
    """Whether a record of the endpoint may be missing."""
    unproven = endpoint.changed_during_export and endpoint.consistent is None
    return bool(endpoint.suspicious_end or endpoint.consistent is False or unproven)


def summary_object(summary: ExportSummary) -> dict[str, Any]:
    """The summary for machines, as values of JSON."""
    return {
        "output": str(summary.output),
        "records": {endpoint.name: endpoint.records for endpoint in summary.endpoints},
        "sample": summary.sample,
        "files": sum(endpoint.files for endpoint in summary.endpoints),
        "bytes": sum(endpoint.bytes for endpoint in summary.endpoints),
        "requests": summary.requests,
        "retries": summary.retries,
        "throttled": summary.throttled,
        "resumed": summary.resumed,
        "seconds": round(summary.seconds, 3),
        "remarks": remarks(summary),
    }


def _on_fields(endpoint: EndpointSummary) -> Iterator[str]:
    unknown = endpoint.drift.get("unknown")
    misfits = endpoint.drift.get("misfits")
    if isinstance(unknown, dict) and unknown:
        yield f"{endpoint.name}: new fields, kept in _extra: {_names(unknown)}"
    if isinstance(misfits, dict) and misfits:
        yield f"{endpoint.name}: values of another type, kept in _extra: {_names(misfits)}"


def _on_completeness(endpoint: EndpointSummary) -> Iterator[str]:
    if endpoint.shared_ids:
        yield (
            f"{endpoint.name}: {counted(endpoint.shared_ids, 'record')} share their id with another one in the same"
            " answer, so the id does not identify them; all were kept"
        )
    if endpoint.suspicious_end:
        yield (
            f"{endpoint.name}: the list may go on behind its last page ({counted(endpoint.pages, 'page')});"
            " compare the number of records with the service"
        )
    if endpoint.consistent is False:
        yield (f"{endpoint.name}: no two sweeps agreed, so a record may be missing; export it again when it is quiet")
    elif endpoint.consistent and endpoint.changed_during_export:
        yield (
            f"{endpoint.name}: the data changed while they were read; two sweeps agree on the outcome"
            f" ({endpoint.recovered:,} recovered, {endpoint.changed:,} changed, {endpoint.gone:,} gone)"
        )
    elif endpoint.changed_during_export and not endpoint.suspicious_end:
        yield (
            f"{endpoint.name}: the data changed while they were read ({counted(endpoint.duplicates, 'duplicate')});"
            " a record that moved may be missing, so use --consistent, or export it again when it is quiet"
        )


def _names(fields: Collection[object]) -> str:
    names = sorted(map(str, fields))
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _sentence(cells: tuple[str, ...]) -> str:
    name, records, files, size, requests = cells
    nouns = (("record", records), ("file", files), ("request", requests))
    of_records, of_files, of_requests = (f"{number} {noun}{'s' * (number != '1')}" for noun, number in nouns)
    return f"{name}: {of_records}, {of_files}, {size}, {of_requests}"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
