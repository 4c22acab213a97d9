"""A finished export or a copy as one HTML file for people: reads what is known of it, and writes the file.

Nothing is sent to the service, and no value of a record is read: manifests, logs and the footers of Parquet files say
all of it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Unpack

from bulk_export.core.directories import opened_directory
from bulk_export.core.files import local_failures, write_within
from bulk_export.core.locations import local_path, scheme_of
from bulk_export.core.version import __version__
from bulk_export.core.window_gate import utc_now
from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.output.file_names import REPORT, SYNC_STATE
from bulk_export.output.missing_export import no_finished_export
from bulk_export.output.object_store.url import StoreUrl, parse_store_url
from bulk_export.output.report.columns import columns_of
from bulk_export.output.report.model import Level, Report
from bulk_export.output.report.of_copy import CopyFacts, ListState, copy_report, damage
from bulk_export.output.report.of_export import ExportFacts, export_report, moment_text
from bulk_export.output.report.page import ROWS, fitting_text
from bulk_export.output.report.part_files import Opener
from bulk_export.output.report.poll_log import last_polls
from bulk_export.output.report.value_counts import ColumnValues, value_counts
from bulk_export.output.side_files import is_report, may_write
from bulk_export.pipelines.declarations import with_defaults
from bulk_export.pipelines.report_arguments import ReportArguments
from bulk_export.pipelines.report_sources import DirectorySource, ReportSource, StoredSource, parquet_parts
from bulk_export.pipelines.report_tables import copy_tables
from bulk_export.pipelines.results import summarise
from bulk_export.pipelines.sync.state_file import read_state
from bulk_export.progress.summary import completeness_remarks

EXPORT, COPY = "export", "copy"


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """A report that was written.

    Attributes:
        path: Its file.
        bytes: The size of the file.
        kind: `export` or `copy`, what it is of.
        verdict: Whether that is whole, or current, in a sentence.
        is_whole: Whether nothing is known that speaks against it.
        remarks: What else is worth knowing.
        difference: How an export differs from its manifest, or which tables of a copy are damaged, in a sentence;
            empty if nothing was found.
    """

    path: Path
    bytes: int
    kind: str
    verdict: str
    is_whole: bool
    remarks: tuple[str, ...]
    difference: str = ""


def write_report(
    directory: str | os.PathLike[str], *, now: Callable[[], datetime] = utc_now, **options: Unpack[ReportArguments]
) -> ReportSummary:
    """Write the report of a finished export or of a copy.

    Args:
        directory: The export or the copy; an export may be at an address in an object store.
        now: The present.
        **options: See `ReportArguments`.

    Returns:
        What was written, and what it says first.

    Raises:
        UsageError: There is no such directory, or something else has the name of the report.
        TypeError: An option is unknown.
        DamagedState: There is no finished export, or what is known of it cannot be used.
        LocalFailure: It cannot be read or written.
        BulkExportError: An object store rejects a request, or keeps failing.
    """
    return _written(directory, with_defaults(ReportArguments, options), now)


def _written(
    directory: str | os.PathLike[str],
    arguments: ReportArguments,
    now: Callable[[], datetime],
    *,
    scratch: Path | None = None,
) -> ReportSummary:
    location, is_copy = _located(directory)
    given = arguments["output"]
    if given is not None:
        target = local_path(given, "--output")
    elif isinstance(location, Path):
        target = location / REPORT
    else:
        raise UsageError(
            f"{location} is an address, and the report is a file on this machine.",
            next_step="Name it with --output FILE.",
        )
    try:
        if is_copy and isinstance(location, Path):
            made = _copy(location, now(), arguments)
        else:
            made = _export(_source(location), now(), arguments)
        make = made.make
        report, text = make(ROWS[0]), fitting_text(make).encode()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DamagedState(
            f"What is known of {location} cannot be used ({type(error).__name__}).",
            kept="Nothing was changed.",
            next_step="bulk-export verify says more." if not is_copy else "The next sync says what to do.",
        ) from None
    _write(target, text, scratch or target.parent)
    return ReportSummary(
        path=target,
        bytes=len(text),
        kind=COPY if is_copy else EXPORT,
        verdict=report.verdict.text,
        is_whole=report.verdict.level is Level.FINE,
        remarks=tuple(finding.text for finding in report.findings),
        difference=made.difference,
    )


def renewed_report(directory: Path, scratch: Path | None = None) -> list[str]:
    """Write the report of what a run has just finished.

    Args:
        directory: The export or the copy.
        scratch: Where the file is begun; what a crash leaves there, a later run removes.

    Returns:
        Why it could not be written, as a remark: nothing else failed.
    """
    try:
        _written(directory, with_defaults(ReportArguments, {}), utc_now, scratch=scratch)
    except BulkExportError as error:
        return [f"the report was not written: {error.what}"]
    return []


def _write(path: Path, content: bytes, scratch: Path) -> None:
    """Write the file with mode 0600, in place of an earlier report and of nothing else."""
    with (
        local_failures(f"Writing {path}"),
        opened_directory(path.parent.resolve()) as directory,
        opened_directory(scratch.resolve()) as begun,
    ):
        if not path.name or not may_write(path.name, directory, is_report):  # `.` has no name
            raise UsageError(
                f"{path} is there, and is no report.",
                kept="Nothing was changed.",
                next_step="Name another file with --output.",
            )
        write_within(path.name, content, directory, scratch=begun)


@dataclass(frozen=True, slots=True)
class _Found:
    """What makes a report of so many rows, and what is damaged, in a sentence."""

    make: Callable[[int], Report]
    difference: str = ""


def _located(directory: str | os.PathLike[str]) -> tuple[Path | StoreUrl, bool]:
    """Where an export or a copy is, and whether it is a copy in a directory."""
    if scheme_of(directory) is not None:
        return parse_store_url(os.fspath(directory)), False
    path = local_path(directory, "DIR")
    with local_failures(f"Looking at {path}"):
        is_directory, is_copy = path.is_dir(), (path / SYNC_STATE).exists()
    if not is_directory:
        raise no_finished_export(path)
    return path, is_copy


def _source(location: Path | StoreUrl) -> ReportSource:
    return DirectorySource.open(location) if isinstance(location, Path) else StoredSource.open(location)


def _export(source: ReportSource, now: datetime, arguments: ReportArguments) -> _Found:
    manifest, parts = source.manifest, parquet_parts(source.manifest)
    difference = source.difference(quick=not arguments["verify"])
    contents = {name: list(map(source.content, found)) for name, found in parts.items()}
    facts = ExportFacts(
        manifest=manifest,
        difference=difference,
        is_read=arguments["verify"],
        incomplete=completeness_remarks(summarise(manifest, "", 0.0)),
        columns={name: columns_of(map(source.footer, found)) for name, found in parts.items()},
        values=_values(contents, manifest["parameters"].get("pseudonymise"), arguments),
        log=source.log(),
        made=_made(now, source.reader),
    )
    return _Found(functools.partial(export_report, facts), difference)


def _values(
    files: Mapping[str, Sequence[Opener]], pseudonyms: object, arguments: ReportArguments
) -> dict[str, tuple[ColumnValues, ...]]:
    """The values of enumerations by list, if they are asked for. Pseudonyms are none."""
    if not arguments["values"]:
        return {}
    hidden = set(map(str, pseudonyms)) if isinstance(pseudonyms, list) else set()
    counted = {name: value_counts(found, hidden) for name, found in files.items()}
    return {name: columns for name, columns in counted.items() if columns}


def _copy(directory: Path, now: datetime, arguments: ReportArguments) -> _Found:
    state = read_state(directory)
    if state is None:
        raise UsageError(f"{directory} holds no copy.", next_step="Name a finished export or a synced copy.")
    tables = copy_tables(directory, state.watermarks, is_delta=state.identity.get("format") == "delta")
    lists = {
        name: ListState(watermark.polls[-1] if watermark.polls else None, watermark.full)
        for name, watermark in state.watermarks.items()
    }
    facts = CopyFacts(
        identity=state.identity,
        lists=lists,
        unfinished=tuple(state.open_polls),
        polls=last_polls(directory),
        columns={name: columns_of(files) for name, files in tables.files.items()},
        values=_values(tables.files, state.identity.get("pseudonymise"), arguments),
        remark=tables.remark,
        lost=tables.lost,
        now=state.service_time(now),
        made=_made(now, "this machine"),
    )
    return _Found(functools.partial(copy_report, facts), damage(facts))


def _made(now: datetime, reader: str) -> str:
    return f"Made on {moment_text(now.isoformat())} by bulk-export {__version__}, from {reader} alone."
