"""The commands of the command line. Each is imported, and gets its options, when it is first looked at.

Declaring the options of all commands takes longer than parsing the line of one.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

HELP = {"help_option_names": ["-h", "--help"]}
# In the order of the help. Each is a function in a module of its own, with its name.
NAMES = (
    "export",
    "sync",
    "resume",
    "replay",
    "plan",
    "head",
    "doctor",
    "verify",
    "report",
    "load",
    "check",
    "budget",
    "endpoints",
    "describe",
    "init",
    "trust",
    "local-service",
    "completion",
    "man",
)


class CommandGroup(TyperGroup):
    """A group whose commands are those of this package."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands()

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:
        """Find the command of a line, or fail with the one that is meant."""
        if args and args[0] not in NAMES and not ctx.resilient_parsing:
            from bulk_export.cli.near_misses import command_advice, command_meant

            meant = command_meant(args[0])
            if meant is not None:
                ctx.fail(f"No such command {args[0]!r}. Did you mean {meant!r}?")
            advice = command_advice(args[0])
            if advice is not None:
                ctx.fail(f"No such command {args[0]!r}. {advice}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help, for which the commands need no options."""
        from bulk_export.cli.help_text import group_help, terminal_width

        summaries = {name: _function(name).__doc__ or "" for name in NAMES}
        formatter.write(group_help(self, ctx, summaries, terminal_width()))


class Command(TyperCommand):
    """A command whose help has its options in groups, and examples."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help."""
        from bulk_export.cli.help_text import command_help, terminal_width

        formatter.write(command_help(self, ctx, terminal_width()))


class _Commands(Mapping[str, Any]):
    """The commands by name, each made when it is first asked for."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        return _with_options(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@functools.cache  # a function takes its parameters once in a process
def _with_options(name: str) -> Any:
    from bulk_export.cli.parameters import with_parameters
    from bulk_export.pipelines.settings.commands import COMMANDS

    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, cls=Command, context_settings=HELP)(with_parameters(_function(name), COMMANDS[name]))
    return typer.main.get_command(alone)


def _function(name: str) -> Callable[..., None]:
    function = name.replace("-", "_")
    found: Callable[..., None] = getattr(importlib.import_module(f"bulk_export.cli.{function}"), function)
    return found
