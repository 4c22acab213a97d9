"""What is on disk or in an object store already: verified, asked questions, or unfinished. These functions block."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from bulk_export.api.argument_checks import checks_arguments
from bulk_export.api.option_help import shows_options
from bulk_export.core.locations import local_path
from bulk_export.output.object_store.url import StoreUrl, parse_location
from bulk_export.output.object_store.verify import verify_url
from bulk_export.output.run_arguments import unfinished_below
from bulk_export.output.verify import Verification
from bulk_export.output.verify import verify as verify_directory
from bulk_export.pipelines.checks.queries import find_check
from bulk_export.pipelines.checks.runner import CheckResult, run_checks, run_checks_at, sql_script
from bulk_export.pipelines.report import ReportSummary, write_report
from bulk_export.pipelines.report_arguments import ReportArguments


@checks_arguments
def verify(export: str | os.PathLike[str], *, quick: bool = False) -> Verification:
    """Compare a finished export with its manifest: sizes, hashes and row counts, and files that it does not name.

    Args:
        export: The directory of the export, or its address in an object store.
        quick: Whether to read no file: sizes, and the ETags of an object store, have to suffice.

    Returns:
        What was verified, in numbers.

    Raises:
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        VerificationFailed: The export differs from its manifest. The message names the differences.
        DamagedState: The export is not finished, or its manifest cannot be used.
        UsageError: There is no such directory, or it holds no export.
        BulkExportError: Anything else; see `bulk_export.errors`.
    """
    location = parse_location(export)
    if isinstance(location, StoreUrl):
        return verify_url(location, quick=quick)
    return verify_directory(location, quick=quick)


@checks_arguments
def check(directory: str | os.PathLike[str]) -> list[CheckResult]:
    """Answer the questions on funded places and links from an export or a copy. Nothing is sent to the service.

    Args:
        directory: A finished export, as a directory or an address in an object store, or a copy that `sync` keeps.

    Returns:
        The answer to each question.

    Raises:
        UsageError: It has no tables that these questions are about.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        DamagedState: A table cannot be read.
        BulkExportError: Anything else; see `bulk_export.errors`.

    Example:
        {result.check.name: result.found for result in check("/data/npq")}
    """
    location = parse_location(directory)
    return run_checks_at(location) if isinstance(location, StoreUrl) else run_checks(location)


@checks_arguments
def check_sql(directory: str | os.PathLike[str], name: str) -> str:
    """Return SQL for DuckDB that answers one question of `check` from the files of a directory.

    Args:
        directory: A finished export, or a copy that `sync` keeps.
        name: The question: `undecided`, `changed` or `unlinked`.

    Returns:
        The statements.

    Raises:
        UsageError: There is no such question, or it cannot be answered from this directory.
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        DamagedState: A table cannot be read.
    """
    return sql_script(local_path(directory, "check_sql"), find_check(name))


@checks_arguments
def unfinished(directory: str | os.PathLike[str] = "output") -> list[Path]:
    """Find the unfinished exports in a directory, which `resume` goes on with.

    Args:
        directory: Where to look: at the directories that it holds, and for tenants at those within them. There may be
            no such directory.

    Returns:
        Their directories, by name.

    Raises:
        InvalidArgument: An argument is unknown, or has a wrong type. It is a UsageError and a TypeError.
        LocalFailure: The directory cannot be read.
    """
    return list(unfinished_below(local_path(directory, "unfinished")))


@checks_arguments
@shows_options(ReportArguments)
def report(directory: str | os.PathLike[str], **options: Unpack[ReportArguments]) -> ReportSummary:
    """Write what is known of a finished export or of a copy into one HTML file, for people to look at.

    Args:
        directory: The finished export, as a directory or an address in an object store (then with `output`), or the
            copy that `sync` keeps.
        **options: The options of `bulk-export report`.

    Returns:
        The file, and what the report says first.

    Raises:
        UsageError: There is no such directory, or something else has the name of the report.
        InvalidArgument: An option is unknown, or its value has a wrong type. It is a UsageError and a TypeError.
        DamagedState: There is no finished export, or what is known of it cannot be used.
        LocalFailure: It cannot be read or written.
        BulkExportError: An object store rejects a request, or keeps failing.

    Example:
        report("/data/npq", output="npq.html")
    """
    return write_report(directory, **options)
