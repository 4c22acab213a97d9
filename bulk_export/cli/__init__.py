"""The command line: `main` is what the `bulk-export` script calls."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bulk_export.cli.command_group import HELP, CommandGroup
from bulk_export.cli.reporting import report_defects
from bulk_export.cli.runner import run
from bulk_export.cli.streams import open_closed_streams
from bulk_export.core.process import forbid_core_dumps
from bulk_export.core.version import __version__

app = typer.Typer(
    name="bulk-export",
    cls=CommandGroup,
    help="Export everything from the DfE lead-provider API, within its rate limits, without losing a record.",
    epilog=(
        "Options may also come from variables BULK_EXPORT_{OPTION} and from bulk-export.toml;"
        " the command line wins, then the environment, then the file."
    ),
    context_settings=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:  # the signature of an option's callback
    if wanted:
        from bulk_export.core.kernel_library import decoder_name

        typer.echo(f"bulk-export {__version__}\ndecoder: {decoder_name()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and the decoder.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line of this process, and exit with its code."""
    open_closed_streams()
    forbid_core_dumps()
    report_defects()
    sys.exit(run(app, sys.argv[1:]))
