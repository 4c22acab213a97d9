"""`bulk-export init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from bulk_export.cli.streams import show

File = Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it. (bulk-export.toml)")]


def init(file: File = Path("bulk-export.toml")) -> None:
    """Write a configuration file with all settings, each commented out and explained."""
    from bulk_export.pipelines.settings.template import write_template

    write_template(file)
    show(os.fsencode(file))
