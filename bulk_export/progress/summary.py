"""What a finished export amounts to, in words and in a table of plain text."""

from __future__ import annotations

from collections.abc import Collection

from bulk_export.progress.observer import ExportSummary
from bulk_export.progress.tally import bytes_text, clock_text

_MOST_NAMES = 12


def summary_lines(summary: ExportSummary) -> list[str]:
    """A table of endpoints, and below it what deserves a second look."""
    header = ("endpoint", "records", "files", "bytes", "requests")
    rows = [
        (one.name, f"{one.records:,}", str(one.files), bytes_text(one.bytes), str(one.requests))
        for one in summary.endpoints
    ]
    total = (
        "total",
        f"{sum(one.records for one in summary.endpoints):,}",
        str(sum(one.files for one in summary.endpoints)),
        bytes_text(sum(one.bytes for one in summary.endpoints)),
        str(summary.requests),
    )
    widths = [max(len(row[column]) for row in (header, *rows, total)) for column in range(len(header))]
    lines = [_row(row, widths) for row in (header, *rows, total)]
    lines.append(
        f"{clock_text(summary.seconds)}, {summary.requests} requests, {summary.retries} retries,"
        f" {summary.throttled} answered 429" + (f", resumed {summary.resumed} times" if summary.resumed else "")
    )
    return lines + remarks(summary)


def remarks(summary: ExportSummary) -> list[str]:
    """What a user should know beyond the numbers; empty for an uneventful export."""
    lines = []
    for one in summary.endpoints:
        unknown = one.drift.get("unknown")
        misfits = one.drift.get("misfits")
        if isinstance(unknown, dict) and unknown:
            lines.append(f"{one.name}: new fields, kept in _extra: {_names(unknown)}")
        if isinstance(misfits, dict) and misfits:
            lines.append(f"{one.name}: values of another type, kept in _extra: {_names(misfits)}")
        if one.shared_ids:
            lines.append(
                f"{one.name}: {one.shared_ids} records share their id with another one in the same answer,"
                " so the id does not identify them; all were kept"
            )
        if one.suspicious_end:
            lines.append(
                f"{one.name}: the list may go on behind its last page ({one.pages} page{'s' * (one.pages != 1)});"
                " compare the number of records with the service"
            )
        if one.consistent is False:
            lines.append(
                f"{one.name}: no two sweeps agreed, so a record may be missing; export it again when it is quiet"
            )
        elif one.consistent and one.changed_during_export:
            lines.append(
                f"{one.name}: the data changed while they were read; two sweeps agree on the outcome"
                f" ({one.recovered} recovered, {one.changed} changed, {one.gone} gone)"
            )
        elif one.changed_during_export and not one.suspicious_end:
            lines.append(
                f"{one.name}: the data changed while they were read ({one.duplicates} duplicates);"
                " a record that moved may be missing, so use --consistent, or export it again when it is quiet"
            )
    if summary.throttled:
        lines.append("the service answered 429 although the limits were kept: someone else seems to use the token")
    return lines


def _names(found: Collection[object]) -> str:
    names = sorted(map(str, found))
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()
