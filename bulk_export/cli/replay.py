"""`bulk-export replay`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulk_export.cli.runner import prepare
from bulk_export.cli.streams import show_export
from bulk_export.core.process import configure_allocator, importing

Archive = Annotated[
    str, typer.Argument(metavar="ARCHIVE", help="An export made with --keep-pages, its address, or its pages.sqlite.")
]


def replay(archive: Archive, **line: Any) -> None:
    """Make another output from the pages that an export kept, without sending a request."""
    prepared = prepare("replay", line)
    options, console = prepared.options, prepared.console

    configure_allocator()
    with importing():
        from bulk_export.output.object_store.reading import opened_archive
        from bulk_export.pipelines.replay import replay as replay_pages
        from bulk_export.pipelines.replay_options import ReplayOptions, refuse_own_output
        from bulk_export.progress import choose

    from bulk_export.cli.signals import until_signalled
    from bulk_export.pipelines.workspace import interrupted

    observer = choose(prepared.progress, console)
    with opened_archive(archive) as pages:
        resolved = ReplayOptions.of(pages, options.pop("endpoints"), **options)
        refuse_own_output(archive, resolved)
        summary = until_signalled(
            lambda stop: replay_pages(resolved, observer, stop=stop),
            lambda: interrupted(resolved.output, kept="finished part"),
            observer,
            console,
        )
    show_export(summary, console, as_json=prepared.as_json)
