"""How an option is declared: once, as an annotated key of a `TypedDict`.

    class SpeedArguments(TypedDict, total=False):
        workers: Annotated[int | str, Limits("Maximum number of pages in flight.", metavar="N", default=8)]

`Limits` makes an `Option` that the help lists under that heading. The command line, the environment variables, the TOML
file and the Python functions all read these declarations. A command takes an option if its `TypedDict` inherits the one
with the key.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from bulk_export.pipelines.invalid_arguments import unknown_argument, value_of_another_type
from bulk_export.pipelines.value_types import is_of_type

T = TypeVar("T", bound=Mapping[str, object])


class Arity(enum.Enum):
    """How many values an option takes: one text, any number of texts, or none because it is a switch."""

    SINGLE = "single"
    MULTIPLE = "multiple"
    FLAG = "flag"


class Source(enum.Flag):
    """Where an option may be given."""

    LINE = enum.auto()
    SETTINGS = enum.auto()  # environment variables and the TOML file
    PYTHON = enum.auto()
    ALL = LINE | SETTINGS | PYTHON


class Trust(enum.Enum):
    """Which settings file may set an option, if the file was found in the working directory and not named.

    ANY        every file
    OWNER      a file that belongs to the user and that nobody else can write to
    CONFIRMED  such a file, after the user has confirmed its values with `bulk-export trust`
    """

    ANY = "any"
    OWNER = "owner"
    CONFIRMED = "confirmed"


class Group(enum.Enum):
    """Under which heading the help lists an option; the headings in their order there."""

    WHAT = "What"
    WHERE = "Where to"
    LIMITS = "Limits"
    PRIVACY = "Privacy"
    OUTPUT = "Output"
    ADVANCED = "Advanced"


@dataclass(frozen=True, slots=True)
class Option:
    """What an option means to its user.

    Args:
        help: One sentence or two. The default is added in parentheses.
        group: The heading under which the help lists it.
        metavar: What stands for the value in the help; by default the choices.
        default: The value if the option is not given. Switches default to False, options with several values to ().
        default_text: What the help shows as the default if `default` does not say it.
        choices: Values that a shell completes.
        positional: Whether the command line takes the values without the option's name.
        sources: Where the option may be given.
        trust: Which settings files may set it.
        short: Its short form on the command line, like `-o`.
    """

    help: str
    group: Group = Group.ADVANCED
    metavar: str | None = None
    default: Any = None
    default_text: str = ""
    choices: tuple[str, ...] = ()
    positional: bool = False
    sources: Source = Source.ALL
    trust: Trust = Trust.ANY
    short: str = ""


# Options by group. An `Option` itself is among the advanced ones.
What = functools.partial(Option, group=Group.WHAT)
Where = functools.partial(Option, group=Group.WHERE)
Limits = functools.partial(Option, group=Group.LIMITS)
Privacy = functools.partial(Option, group=Group.PRIVACY)
Shown = functools.partial(Option, group=Group.OUTPUT)


@dataclass(frozen=True, slots=True)
class Declaration:
    """An option with its name (with underscores) and the Python type of its values."""

    name: str
    option: Option
    type: Any

    @property
    def arity(self) -> Arity:
        """How many values it takes: any number for a sequence, none for a bool."""
        if self.type is bool:
            return Arity.FLAG
        takes_several = any(get_origin(member) is Sequence for member in (self.type, *get_args(self.type)))
        return Arity.MULTIPLE if takes_several else Arity.SINGLE

    @property
    def flag(self) -> str:
        """The option as it is written on the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def flags(self) -> tuple[str, ...]:
        """All forms of the option on the command line."""
        return (self.flag, self.option.short) if self.option.short else (self.flag,)

    @property
    def default(self) -> Any:
        """The value if the option is not given."""
        if self.option.default is not None:
            return self.option.default
        return {Arity.SINGLE: None, Arity.MULTIPLE: (), Arity.FLAG: False}[self.arity]

    @property
    def example(self) -> str:
        """A value as a TOML file has it: the default, or what the help shows for the value."""
        if self.arity is Arity.FLAG:
            return "true"
        shown = self.option.default if isinstance(self.option.default, str | int) else self.metavar
        text = f'"{shown}"' if isinstance(shown, str) else str(shown)
        return f"[{text}]" if self.arity is Arity.MULTIPLE else text

    @property
    def help(self) -> str:
        """The help text with the default."""
        shown = self.option.default_text or self.option.default
        return self.option.help if shown is None else f"{self.option.help} ({shown})"

    @property
    def metavar(self) -> str | None:
        """What stands for the value in the help, None for a switch."""
        return self.option.metavar or "|".join(self.option.choices) or None


@functools.cache
def declarations(arguments: type) -> Mapping[str, Declaration]:
    """Return the options that a `TypedDict` declares or inherits, by name, in the order of declaration."""
    declared = {}
    for name, annotation in get_type_hints(arguments, include_extras=True).items():
        type_, option = get_args(annotation)
        declared[name] = Declaration(name, option, type_)
    return declared


def short_forms(arguments: type) -> Mapping[str, str]:
    """Return the options of a `TypedDict` that have a short form, by its letter."""
    return {
        entry.option.short.removeprefix("-"): name
        for name, entry in declarations(arguments).items()
        if entry.option.short
    }


def with_defaults(arguments: type[T], given: Mapping[str, Any]) -> T:
    """Complete the options that a Python program gave by the declared defaults.

    Raises:
        InvalidArgument: An option is not declared in `arguments`, or its value has a type that it does not take.
    """
    declared = declarations(arguments)
    for name, value in given.items():
        if name not in declared:
            function = arguments.__name__.removesuffix("Arguments").lower()
            raise unknown_argument(function, name, declared, short_forms(arguments))
        if not is_of_type(value, declared[name].type):
            raise value_of_another_type(name, declared[name].type, value)
    return cast("T", {name: declaration.default for name, declaration in declared.items()} | dict(given))
