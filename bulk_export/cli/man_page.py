"""The manual page, in roff: made from the commands, options and examples that there are.

It is kept in share/, from where a wheel installs it, and `make man` renews it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

from bulk_export.cli.command_group import NAMES
from bulk_export.cli.examples import EXAMPLES, Example
from bulk_export.cli.help_text import command_lines, first_sentence, option_groups, usage_of

_EXAMPLE_WIDTH = 66
_VARIABLES = (
    ("BULK_EXPORT_TOKEN", "The token, unless --token-file names a file with it."),
    ("BULK_EXPORT_{OPTION}", "An option by its name in capitals, for example BULK_EXPORT_PAGE_SIZE."),
    ("BULK_EXPORT_CONFIG, BULK_EXPORT_PROFILE", "The settings file, and the profile in it."),
    ("HTTPS_PROXY, NO_PROXY", "A proxy, and the addresses that are reached without it."),
)
_FILES = (
    ("bulk-export.toml", "Settings, if it is in the current directory; bulk-export init writes one."),
    ("DIR/manifest.json", "Written last: if it is there, the export is complete."),
    ("DIR/.bulk-export/", "Working state of an unfinished export, gone when it is finished."),
)
EXIT_CODES = (
    ("0", "Finished."),
    ("2", "Wrong usage or configuration."),
    ("3", "Rejected by the service or by the database."),
    ("4", "The service or the database kept failing after all retries."),
    ("5", "A failure of this machine: disk full, unwritable directory, damaged state."),
    ("6", "verify or endpoints --check found a difference, or check found something to look at."),
    ("130", "Interrupted; the same command goes on."),
)


def man_page(group: Any, context: Any) -> str:
    """Return the manual page.

    Args:
        group: The whole command line, as Typer has made it.
        context: The context of that.
    """
    lines = [
        '.TH BULK\\-EXPORT 1 "" "bulk\\-export" "User Commands"',
        ".nh",  # words are not hyphenated, nor stretched
        ".ad l",
        ".SH NAME",
        f"bulk\\-export \\- {_text(first_sentence(group.help).rstrip('.'))}",
        ".SH SYNOPSIS",
        r"\fBbulk\-export\fR \fICOMMAND\fR [\fIOPTIONS\fR]",
        ".SH DESCRIPTION",
        *_paragraphs(group.help),
        *_paragraphs(group.epilog),
        ".SH COMMANDS",
    ]
    described: dict[str, dict[tuple[str, str], list[str]]] = {}
    for name in NAMES:
        command = group.commands[name]
        own = command.context_class(
            command, info_name=name, parent=context, help_option_names=context.help_option_names
        )
        groups = option_groups(command, own)
        lines += _command(name, command, groups)
        for title, rows in groups.items():
            for row in rows:
                described.setdefault(title, {}).setdefault(row, []).append(name)
    lines.append(".SH OPTIONS")
    lines += _options(described)
    for heading, terms in (("ENVIRONMENT", _VARIABLES), ("FILES", _FILES), ('"EXIT STATUS"', EXIT_CODES)):
        lines.append(f".SH {heading}")
        for term, meaning in terms:
            lines += [".TP", rf"\fB{_text(term)}\fR", *_filled(meaning)]
    lines += [".SH SEE ALSO", r"\fBbulk\-export\fR \fICOMMAND\fR \fB\-\-help\fR"]
    return "\n".join(lines) + "\n"


def _command(name: str, command: Any, groups: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    yield f'.SS "{_text(" ".join([name, "[OPTIONS]", *map(usage_of, arguments)]))}"'
    yield from _paragraphs(command.help)
    for parameter in arguments:
        yield from (".TP", rf"\fI{_text(usage_of(parameter))}\fR", *_filled(parameter.help or ""))
    names = [re.findall(r"--[\w-]+", row[0])[0] for rows in groups.values() for row in rows]
    yield from (".PP", *_filled(f"Options: {', '.join(names)}."))
    yield from _examples(EXAMPLES.get(name, ()))


def _options(described: dict[str, dict[tuple[str, str], list[str]]]) -> Iterator[str]:
    """Every option once, or once for each meaning that it has, with the commands that have it."""
    last = "Advanced"
    for title in sorted(described, key=lambda title: title == last):
        yield f'.SS "{_text(title)}"'
        for (flags, meaning), commands in described[title].items():
            yield from (".TP", _flags(flags), *_filled(meaning))
            yield from _filled(f"({'all commands' if len(commands) == len(NAMES) else ', '.join(commands)})")


def _examples(examples: Iterable[Example]) -> Iterator[str]:
    for example in examples:
        lines = map(_text, command_lines(example.line, _EXAMPLE_WIDTH))
        yield from (".PP", *_filled(f"{example.purpose}:"), ".PP", ".RS 4", ".nf", *lines, ".fi", ".RE")


def _flags(text: str) -> str:
    """An option with its forms in bold and the name of its value in italics."""
    return " ".join(
        (rf"\fB{_text(word.rstrip(','))}\fR" if word.startswith("-") else rf"\fI{_text(word)}\fR")
        + ("," if word.endswith(",") else "")
        for word in text.split()
    )


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in filter(None, inspect.cleandoc(text or "").split("\n\n")):
        yield ".PP"
        yield from _filled(paragraph)


def _filled(text: str) -> Iterator[str]:
    """A text with one sentence a line, as roff likes it."""
    for sentence in re.split(r"(?<=[.:;?!])\s+(?=[A-Z(])", " ".join(text.split())):
        yield _text(sentence)


def _text(text: str) -> str:
    """Take the meaning from characters that roff would read as its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("~", "\\(ti")
    escaped = escaped.replace("'", "\\(aq").replace("`", "\\(ga").replace("^", "\\(ha")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
