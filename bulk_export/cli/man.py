"""`bulk-export man`."""

from __future__ import annotations

import typer

from bulk_export.cli.streams import show


def man(ctx: typer.Context) -> None:
    """Print the manual page, in the language of man(1)."""
    from bulk_export.cli.man_page import man_page

    root = ctx.find_root()
    show(man_page(root.command, root).rstrip("\n"))
