"""`bulk-export verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.errors import UsageError
from bulk_export.progress.console import one_line

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A finished export.")]


def verify(directory: Directory, **line: Any) -> None:
    """Check a finished export against its manifest: read every file, recompute hashes and row counts."""
    prepare("verify", line)
    try:
        reason = "" if directory.is_dir() else "is not a directory"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    if reason:
        raise UsageError(f"{directory} {reason}.", next_step="Name the directory of a finished export.")

    from bulk_export.output.verify import verify as check

    checked = check(directory)
    counts = f"{checked.files} files, {checked.rows:,} rows, {checked.bytes:,} bytes"
    for path in checked.passed_over:
        show(one_line(f"{path}: ignored, because a file browser left it there"))
    show(f"{one_line(str(directory))}: {counts}, as the manifest says")
