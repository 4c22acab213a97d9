"""What a report says of a finished export: from its manifest, its footers and the log of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bulk_export.core.text import counted, times_text
from bulk_export.core.units import format_duration
from bulk_export.output.report.columns import Column, TableColumns
from bulk_export.output.report.model import Cell, Fact, Finding, Level, Name, Number, Report, Section, Share, Table
from bulk_export.output.report.timeline_charts import endpoint_table, holds_text, limit_charts, request_charts
from bulk_export.output.report.value_counts import LEAST_RECORDS, ColumnValues, rows_of
from bulk_export.output.run_log import RunLog
from bulk_export.progress.tally import bytes_text

# The rows of a table of columns, at least; and the part of all rows that other tables may have.
FEWEST_COLUMNS, OTHERS = 3, 4
FROM_FOOTERS = (
    "Types, and how much of each column is empty. No value was read for this: it is in the footers of the files."
)
_DRIFT = {
    "unknown": "not described, kept in _extra",
    "misfits": "value of another type, kept in _extra",
    "missing": "described, but absent",
    "duplicate_keys": "stands twice in one object",
}
# What is worth knowing of it beside the table: absent fields are usual.
_NOTABLE_DRIFT = {
    "unknown": "that the description does not have",
    "misfits": "with values of another type than described",
    "duplicate_keys": "that stand twice in one object",
}
_SIGNS = {
    "short_pages": "Pages that were short although later ones had records",
    "duplicates": "Records that were on more than one page",
    "backwards": "Pages that begin before the previous one ends",
    "suspicious_end": "The list may go on behind its last page",
    "mixed_page_sizes": "Pages of one list were cut to different lengths",
    "stray_answers": "Responses that belonged to another request",
    "repeated_pages": "Pages that were shown twice",
    "recovered": "Records that only a further sweep found",
    "changed": "Records that further sweeps saw in another version",
    "gone": "Records that vanished while they were read",
}


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """What is known of a finished export.

    Attributes:
        manifest: Its manifest.
        difference: How it differs from that, empty if it does not.
        is_read: Whether every file was read to find that out, or only names and sizes were compared.
        incomplete: Sentences on records that may be missing.
        columns: What the footers of its Parquet files say, by list; empty if it has none.
        log: When its requests were sent, if that is known.
        made: When the report was made and by what.
        values: The values of enumerations, by list, if they were counted.
    """

    manifest: Mapping[str, Any]
    difference: str
    is_read: bool
    incomplete: Sequence[str]
    columns: Mapping[str, TableColumns]
    log: RunLog | None
    made: str
    values: Mapping[str, Sequence[ColumnValues]] = field(default_factory=dict)


def export_report(facts: ExportFacts, rows: int = 480) -> Report:
    """What a report says of a finished export.

    Args:
        facts: What is known of it.
        rows: How many rows all tables of columns have together, about; others have a quarter of that at most.
    """
    manifest = facts.manifest
    endpoints: Mapping[str, Mapping[str, Any]] = manifest["endpoints"]
    records = sum(endpoint["records"] for endpoint in endpoints.values())
    seconds, finished = _duration(manifest), moment_text(manifest["finished_at"])
    return Report(
        title=f"Export of {manifest.get('service')} {manifest.get('api_version')}",
        subtitle=f"{counted(records, 'record')} in {counted(len(endpoints), 'list')}, finished {finished}",
        verdict=_verdict(facts),
        findings=list(_findings(facts)),
        facts=list(_facts(manifest, records, seconds)),
        details=list(_details(manifest)),
        sections=list(_sections(facts, rows)),
        made=facts.made,
    )


def _verdict(facts: ExportFacts) -> Finding:
    files = sum(len(endpoint["files"]) for endpoint in facts.manifest["endpoints"].values())
    if facts.difference:
        return Finding(Level.BAD, f"Not whole. {facts.difference}")
    how = "was read and is as the manifest says" if facts.is_read else "is there with the size that the manifest says"
    whole = f"each of its {counted(files, 'file')} {how}" if files != 1 else f"its file {how}"
    if facts.incomplete:
        return Finding(Level.LOOK, f"The export is finished and {whole}, but a record may be missing: see below.")
    if "sample" in facts.manifest["parameters"]:
        return Finding(Level.LOOK, f"A sample of the first records, as asked for; {whole}.")
    return Finding(Level.FINE, f"Whole: {whole}.")


def _findings(facts: ExportFacts) -> Iterator[Finding]:
    manifest, run = facts.manifest, facts.manifest["run"]
    for sentence in facts.incomplete:
        yield Finding(Level.LOOK, sentence)
    for name, reason in manifest.get("not_exported", {}).items():
        yield Finding(Level.LOOK, f"{name} was not exported: {reason}.")
    for kind, what in _NOTABLE_DRIFT.items():
        paths = sum(len(endpoint["drift"].get(kind, {})) for endpoint in manifest["endpoints"].values())
        if paths:
            yield Finding(Level.LOOK, f"Records had {counted(paths, 'field')} {what}; every value is kept in _extra.")
    if run["throttled"]:
        yield Finding(
            Level.LOOK,
            f"The service answered 429 {times_text(run['throttled'])} although the limits were kept:"
            " somebody else may be using the token or the address.",
        )
    if facts.log is not None and (text := holds_text(facts.log.timeline)):
        yield Finding(Level.LOOK, text)
    if run.get("server_clock_answers"):
        yield Finding(
            Level.LOOK, f"The clock of the service is {run['server_clock_ahead']:+,.0f} s from that of this machine."
        )
    unreadable = sum(table.unreadable for table in facts.columns.values())
    if unreadable:
        yield Finding(Level.BAD, f"{counted(unreadable, 'file')} cannot be read, and their columns are not counted.")


def _facts(manifest: Mapping[str, Any], records: int, seconds: float | None) -> Iterator[Fact]:
    run = manifest["run"]
    files = [file for endpoint in manifest["endpoints"].values() for file in endpoint["files"]]
    yield Fact("Records", f"{records:,}")
    yield Fact("Size", bytes_text(sum(file["bytes"] for file in files)), counted(len(files), "file"))
    if seconds is not None:
        pace = f"{records / seconds:,.0f} records a second" if seconds else ""
        yield Fact("Time", format_duration(seconds), pace)
    yield Fact("Requests", f"{run['requests']:,}", f"{run['retries']:,} failed and were repeated")
    yield Fact("Answered 429", f"{run['throttled']:,}")
    yield Fact("Resumed", times_text(run["resumed"]) if run["resumed"] else "never")


def _details(manifest: Mapping[str, Any]) -> Iterator[Fact]:
    given = manifest["parameters"]
    yield Fact("Service", f"{manifest.get('service')} {manifest.get('api_version')}")
    yield Fact("Address", str(manifest.get("base_url")))
    yield Fact("Began", moment_text(manifest.get("started_at")))
    yield Fact("Finished", moment_text(manifest["finished_at"]))
    formats = given.get("formats") or {}
    yield Fact("Files", ", ".join(f"{name}, compression {how}" for name, how in formats.items()) or "not known")
    yield Fact("Page size", str(given.get("page_size")))
    since = given.get("updated_since")
    yield Fact("Records of", f"changes since {since}" if since else "all time")
    # The values of filters are in the manifest; they may be those of a person.
    yield Fact("Filters, by name", ", ".join(given.get("filters") or {}) or "none")
    if "sample" in given:
        yield Fact("Sample", f"at most {counted(given['sample'], 'record')} of each list")
    dropped, hashed = given.get("drop_columns") or [], given.get("pseudonymise") or []
    yield Fact("Left out", ", ".join(map(str, dropped)) or "nothing")
    yield Fact("Pseudonyms", ", ".join(map(str, hashed)) or "none")
    yield Fact("Read until two sweeps agree", "yes" if given.get("consistent") else "no")
    yield Fact("Made by", f"bulk-export {manifest['tool'].get('version')}")


def _sections(facts: ExportFacts, rows: int) -> Iterator[Section]:
    endpoints, most = facts.manifest["endpoints"], rows // OTHERS
    if facts.log is None:
        yield Section("Over time", "time", "When its requests were sent is not known: there is no run.jsonl of it.")
    else:
        timeline = facts.log.timeline
        missing = facts.manifest["run"]["requests"] - timeline.total("requests")
        lead = f"{counted(missing, 'request')} of runs that ended suddenly are not shown." if missing > 0 else ""
        spans = endpoint_table(timeline, most)
        tables = [] if spans is None else [spans]
        yield Section("Over time", "time", lead, charts=request_charts(timeline), tables=tables)
        yield Section(
            "Limits",
            "limits",
            "What was used of each limit, by this export and by everybody else who shares the record of requests.",
            charts=limit_charts(timeline),
        )
    yield Section("Lists", "lists", tables=[_lists(endpoints, most)])
    tables = list(_columns(facts, rows))
    yield Section(
        "Columns",
        "columns",
        FROM_FOOTERS if facts.columns else "How much of a column is empty is known of Parquet files only.",
        tables=tables,
        is_folded=True,
    )
    yield from values_section(facts.values, most)
    drift = list(_drift(endpoints))
    more = f"{len(drift) - most:,} more are in manifest.json." if len(drift) > most else ""
    yield Section(
        "Drift",
        "drift",
        "Where records were not as described." if drift else "All records were as described.",
        tables=[Table("Fields that were not as described", ("Field", "List", "What", "Times"), drift[:most], more)]
        if drift
        else [],
    )
    signs = list(_signs(endpoints))
    yield Section(
        "Signs of change",
        "signs",
        "Signs that the data changed while they were read." if signs else "Nothing shows that the data changed.",
        tables=[Table("Signs that the data changed", ("List", "What", "Times"), signs[:most])] if signs else [],
    )


def _lists(endpoints: Mapping[str, Mapping[str, Any]], most: int) -> Table:
    rows = [
        (
            Name(name),
            Number(endpoint["records"]),
            Number(endpoint["pages"]),
            Number(endpoint["requests"]),
            Number(len(endpoint["files"])),
            Number(size := sum(file["bytes"] for file in endpoint["files"]), bytes_text(size)),
            _agreement(endpoint),
        )
        for name, endpoint in list(endpoints.items())[:most]
    ]
    more = f"{len(endpoints) - most:,} more lists are in manifest.json." if len(endpoints) > most else ""
    head = ("List", "Records", "Pages", "Requests", "Files", "Size", "While it was read")
    return Table("What was exported", head, rows, more)


def _agreement(endpoint: Mapping[str, Any]) -> str:
    if endpoint.get("consistent") is False:
        return "no two sweeps agreed"
    if endpoint.get("consistent"):
        return "two sweeps agreed"
    return "signs of change" if endpoint.get("changed_during_export") else "no sign of change"


def _columns(facts: ExportFacts, rows: int) -> Iterator[Table]:
    endpoints = facts.manifest["endpoints"]
    share = max(FEWEST_COLUMNS, rows // max(1, len(endpoints)))
    for name, endpoint in list(endpoints.items())[: rows // OTHERS]:
        known = facts.columns.get(name)
        if known is None or not known.columns:
            columns = tuple(Column(str(c["name"]), _outer(str(c["type"])), None) for c in endpoint["schema"])
            yield column_table(name, columns, endpoint["records"], share)
        else:
            yield column_table(name, known.columns, known.rows, share)


def column_table(name: str, columns: Sequence[Column], rows: int, most: int) -> Table:
    """The columns of a list, with what part of each is empty.

    Args:
        name: The list.
        columns: Its columns.
        rows: The number of its rows.
        most: How many columns are shown.
    """
    more = f"{len(columns) - most:,} more columns are not shown." if len(columns) > most else ""
    return Table(
        f"{name}: {counted(len(columns), 'column')}, {counted(rows, 'row')}",
        ("Column", "Type", "Empty"),
        [(Name(column.name), column.type, _empty(column.nulls, rows)) for column in columns[:most]],
        more,
    )


def values_section(values: Mapping[str, Sequence[ColumnValues]], most: int) -> Iterator[Section]:
    """The values of enumerations, at most so many rows for each list; no section if they were not counted."""
    if values:
        yield Section(
            "Values",
            "values",
            "How many records have which value, in columns with few different ones."
            f" Values of fewer than {LEAST_RECORDS} records are not shown.",
            tables=[_values(name, rows_of(columns), most) for name, columns in list(values.items())[:most]],
            is_folded=True,
        )


def _values(name: str, rows: Sequence[tuple[str, str, int]], most: int) -> Table:
    more = f"{len(rows) - most:,} more values are not shown." if len(rows) > most else ""
    shown = [(Name(column), value, Number(count)) for column, value, count in rows[:most]]
    return Table(f"{name}: {counted(len(rows), 'value')}", ("Column", "Value", "Records"), shown, more)


def _empty(nulls: int | None, rows: int) -> Cell:
    if nulls is None:
        return "not counted"
    share = nulls / rows if rows else 0.0
    percent = "none" if not nulls else "all" if nulls == rows else f"{min(max(share, 0.001), 0.999):.1%}"
    return Share(share, percent)


def _drift(endpoints: Mapping[str, Mapping[str, Any]]) -> list[Sequence[Cell]]:
    found = [
        (count, name, kind, path)
        for name, endpoint in endpoints.items()
        for kind in _DRIFT
        for path, count in endpoint["drift"].get(kind, {}).items()
    ]
    found.sort(key=lambda entry: (-entry[0], entry[1:]))
    return [(Name(path), Name(name), _DRIFT[kind], Number(count)) for count, name, kind, path in found]


def _signs(endpoints: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[Cell]]:
    for name, endpoint in endpoints.items():
        for sign, count in endpoint.get("signs_of_change", {}).items():
            yield Name(name), _SIGNS.get(sign, sign), Number(count)


def _outer(type_: str) -> str:
    """The type of a column without what is in it, as the manifest has it: `list<…>`."""
    outer, is_nested, _ = type_.partition("<")
    return f"{outer}<…>" if is_nested else type_


def _duration(manifest: Mapping[str, Any]) -> float | None:
    try:
        began, ended = (datetime.fromisoformat(manifest[name]) for name in ("started_at", "finished_at"))
        return max(0.0, (ended - began).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def moment_text(text: object) -> str:
    """A time in a document as people read it: `27 November 2026, 03:31:44 UTC`; what is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return str(text)
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"
