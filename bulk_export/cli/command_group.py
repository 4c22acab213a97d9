"""The commands of the command line. Each is imported, and gets its options, when it is first looked at.

Declaring the options of all commands takes longer than parsing the line of one.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

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
)


class CommandGroup(TyperGroup):
    """A group whose commands are those of this package."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands(_with_options)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the list of commands, for which they need no options."""
        complete, self.commands = self.commands, _Commands(_without_options)
        try:
            super().format_commands(ctx, formatter)
        finally:
            self.commands = complete


class _Commands(Mapping[str, Any]):
    """The commands by name, each made by `make` from its name when it is first asked for."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@functools.cache  # a function takes its parameters once in a process
def _with_options(name: str) -> Any:
    from bulk_export.cli.commands import COMMANDS
    from bulk_export.cli.parameters import with_parameters

    return _parser(name, with_parameters(_function(name), COMMANDS[name]))


def _without_options(name: str) -> Any:
    def command() -> None:
        """Stand for the command."""

    command.__doc__ = _function(name).__doc__
    return _parser(name, command)


def _function(name: str) -> Callable[..., None]:
    function = name.replace("-", "_")
    found: Callable[..., None] = getattr(importlib.import_module(f"bulk_export.cli.{function}"), function)
    return found


def _parser(name: str, function: Callable[..., None]) -> Any:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name, context_settings=HELP)(function)
    return typer.main.get_command(alone)
