"""`bulk-export verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show
from bulk_export.core.locations import scheme_of, with_home
from bulk_export.core.text import counted
from bulk_export.progress.console import one_line

if TYPE_CHECKING:
    from bulk_export.output.verify import Verification

Directory = Annotated[str, typer.Argument(metavar="DIR|URL", help="A finished export.")]


def verify(directory: Directory, **line: Any) -> None:
    """Check a finished export against its manifest: read every file, recompute hashes and row counts."""
    quick = prepare("verify", line).options["quick"]
    checked = _verified(directory, quick=quick)
    counts = f"{counted(checked.files, 'file')}, {counted(checked.rows, 'row')}, {counted(checked.bytes, 'byte')}"
    for path in checked.passed_over:
        show(one_line(f"{path}: ignored, because a file browser left it there"))
    manner = "names and sizes only, " if quick else ""
    show(f"{one_line(directory)}: {manner}{counts}, as the manifest says")


def _verified(name: str, *, quick: bool) -> Verification:
    if scheme_of(name) is not None:
        from bulk_export.output.object_store.url import parse_store_url
        from bulk_export.output.object_store.verify import verify_url

        return verify_url(parse_store_url(name), quick=quick)
    from bulk_export.output.verify import verify as check

    return check(with_home(name), quick=quick)
