"""`bulk-export resume`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bulk_export.cli.export import run_export
from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show

DEFAULT = Path("output")

Directory = Annotated[
    Path | None, typer.Argument(metavar="[DIR]", help="An unfinished export; without it, those in output/ are listed.")
]


def resume(directory: Directory = None, **line: Any) -> None:
    """Go on with an unfinished export: only its directory and the token are needed."""
    prepared = prepare("resume", line)

    from bulk_export.output.run_arguments import unfinished_below
    from bulk_export.pipelines.resume import arguments_to_resume

    if directory is None:
        unfinished = unfinished_below(DEFAULT)
        for path in unfinished:
            show(os.fsencode(path))
        if not unfinished and prepared.progress != "none":
            prepared.console.line(f"no unfinished export below {DEFAULT}/; bulk-export resume DIR names one elsewhere")
        return
    endpoints, options = arguments_to_resume(directory)
    given = {name: value for name, value in prepared.options.items() if value is not None}
    run_export(prepared, endpoints, {**options, **given}, is_resumed=True)
