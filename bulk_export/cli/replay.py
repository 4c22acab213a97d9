"""`bulk-export replay`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bulk_export.cli import option_types as p
from bulk_export.cli.runner import begin
from bulk_export.cli.streams import show_result
from bulk_export.core.process import configure_allocator

Archive = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="An export made with --keep-pages, or its pages.sqlite.")
]


def replay(
    archive: Archive,
    endpoints: p.Endpoints = None,
    service: p.Service = None,
    api_version: p.ApiVersion = None,
    output: p.Output = None,
    format: p.Format = None,  # noqa: A002  # the name of the option
    compression: p.Compression = None,
    flatten: p.Flatten = False,
    schema: p.Schema = None,
    overwrite: p.Overwrite = False,
    drop_column: p.DropColumn = None,
    pseudonymise: p.Pseudonymise = None,
    pseudonym_key_file: p.PseudonymKeyFile = None,
    work_dir: p.WorkDir = None,
    progress: p.Progress = None,
    log_format: p.LogFormat = None,
    debug: p.Debug = False,
    config: p.Config = None,
) -> None:
    """Make another output from the pages that an export kept, without one request."""
    line = {name: value for name, value in locals().items() if name not in ("config", "archive")}
    options, console, kind = begin("replay", line, p.REPLAY, config)

    from bulk_export.pipelines.replay import ReplayOptions
    from bulk_export.pipelines.replay import replay as replay_pages
    from bulk_export.progress import choose

    configure_allocator()
    observer = choose(kind, console)
    resolved = ReplayOptions.of(archive, options.pop("endpoints", ()), **options)

    from bulk_export.cli.signals import until_signalled

    summary = until_signalled(
        lambda stop: replay_pages(resolved, observer, stop=stop), resolved.output, observer, console
    )
    show_result(os.fsencode(summary.output), console)
