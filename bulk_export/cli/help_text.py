"""The text of `--help`: options under headings, then examples. Words are never cut, however narrow the terminal is."""

from __future__ import annotations

import inspect
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bulk_export.cli.examples import EXAMPLES, START, Example

_NARROWEST, _WIDEST = 40, 120
# Below this width, what an option means stands below it and not beside it.
_TWO_COLUMNS = 70
# Beyond this length, the name of an option gets a line of its own.
_LONGEST_NAME = 32
_NO_SHORT_FORM = " " * len("-o, ")
_SHORT = re.compile(r"-[^-]")
_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|\S)+""")


def terminal_width() -> int:
    """Return how many characters a line of help may have; the variable COLUMNS wins over the terminal."""
    return max(_NARROWEST, min(shutil.get_terminal_size().columns, _WIDEST))


def command_help(command: Any, context: Any, width: int) -> str:
    """Return the help of a command.

    Args:
        command: The command, as Typer has made it.
        context: The context in which it was called.
        width: How many characters a line may have.
    """
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    names = " ".join(map(usage_of, arguments))
    sections = [
        _usage(f"{context.command_path} [OPTIONS] {names}".rstrip(), width),
        *_paragraphs(command.help or "", width),
    ]
    if arguments:
        rows = [(usage_of(parameter).strip("[]"), parameter.help or "") for parameter in arguments]
        sections += _sections([("Arguments", rows)], width)
    sections += _sections(_aligned(option_groups(command, context).items()), width)
    sections.append(_examples(EXAMPLES.get(str(command.name), ()), width))
    return "\n\n".join(filter(None, sections)) + "\n"


def group_help(group: Any, context: Any, commands: Mapping[str, str], width: int) -> str:
    """Return the help of the whole command line.

    Args:
        group: The group, as Typer has made it.
        context: The context in which it was called.
        commands: What each command does, by its name.
        width: How many characters a line may have.
    """
    options = [record for parameter in group.get_params(context) if (record := parameter.get_help_record(context))]
    sections = [
        _usage(f"{context.command_path} COMMAND [OPTIONS]", width),
        *_paragraphs(group.help or "", width),
        *_sections([("Commands", [(name, first_sentence(text)) for name, text in commands.items()])], width),
        *_sections(_aligned([("Options", options)]), width),
        _examples(START, width),
        *_paragraphs(group.epilog or "", width),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def option_groups(command: Any, context: Any) -> dict[str, list[tuple[str, str]]]:
    """Return the options of a command by heading, each with all its forms and what it means.

    The headings come in the order of `Group`, those that only one command has before the last of them.
    """
    from bulk_export.pipelines.declarations import Group

    last = Group.ADVANCED.value
    parameters = [parameter for parameter in command.get_params(context) if parameter.param_type_name == "option"]
    found = {parameter.rich_help_panel or last for parameter in parameters}
    known = [group.value for group in Group if group is not Group.ADVANCED]
    order = [*known, *sorted(found - {*known, last}, reverse=True), last]
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in order}
    for parameter in parameters:
        record = parameter.get_help_record(context)
        if record is not None:
            groups[parameter.rich_help_panel or last].append(record)
    return {title: rows for title, rows in groups.items() if rows}


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring."""
    return re.split(r"(?<=\.)\s", " ".join(inspect.cleandoc(text).split()), maxsplit=1)[0]


def command_lines(line: str, width: int) -> list[str]:
    """Break a command line for a shell, which joins the lines again: only before options, and never inside quotes."""
    pieces: list[str] = []
    for word in _WORD.findall(line):
        # The value of an option stays beside it.
        if pieces and not word.startswith("-") and re.fullmatch(r"--?[\w-]+", pieces[-1]):
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    lines: list[str] = []
    for piece in pieces:
        if lines and len(lines[-1]) + len(piece) + len("  \\") <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"    {piece}" if lines else piece)
    return [f"{text} \\" for text in lines[:-1]] + lines[-1:]


def _usage(text: str, width: int) -> str:
    return "\n".join(_wrapped(text, width, first="Usage: ", then=" " * 8))


def usage_of(argument: Any) -> str:
    """Return an argument as the usage shows it: in brackets if it may be left out."""
    name = argument.human_readable_name.strip("[]")
    several = " ..." if argument.nargs == -1 else ""
    return f"{name}{several}" if argument.required else f"[{name}{several}]"


def _paragraphs(text: str, width: int) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph:
            yield "\n".join(_wrapped(paragraph, width))


def _aligned(groups: Iterable[tuple[str, list[tuple[str, str]]]]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Give options without a short form the room of one, if any option has one."""
    listed = list(groups)
    if any(_SHORT.match(name) for _, rows in listed for name, _ in rows):
        listed = [
            (title, [(name if _SHORT.match(name) else f"{_NO_SHORT_FORM}{name}", text) for name, text in rows])
            for title, rows in listed
        ]
    return iter(listed)


def _sections(groups: Iterable[tuple[str, list[tuple[str, str]]]], width: int) -> list[str]:
    """Headings, and below each of them names with what they mean, all in the same columns."""
    listed = list(groups)
    lengths = [len(name) for _, rows in listed for name, _ in rows]
    column = max((length for length in lengths if length <= _LONGEST_NAME), default=_LONGEST_NAME)
    return ["\n".join([f"{title}:", *_rows(rows, column, width)]) for title, rows in listed]


def _rows(rows: Iterable[tuple[str, str]], column: int, width: int) -> Iterator[str]:
    for name, text in rows:
        if width < _TWO_COLUMNS:
            yield f"  {name.strip()}"
            yield from _wrapped(text, width, first=" " * 6, then=" " * 6)
            continue
        below = " " * (column + 4)
        if len(name) > column:
            yield f"  {name}"
            yield from _wrapped(text, width, first=below, then=below)
        else:
            yield from _wrapped(text, width, first=f"  {name:<{column}}  ", then=below)


def _examples(examples: Iterable[Example], width: int) -> str:
    lines = ["Examples:"]
    for example in examples:
        lines += _wrapped(f"{example.purpose}:", width, first="  ", then="  ")
        lines += [f"    {line}" for line in command_lines(example.line, width - 4)]
    return "\n".join(lines) if len(lines) > 1 else ""


def _wrapped(text: str, width: int, *, first: str = "  ", then: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
