"""The text of `--help`: options under headings, examples, and no word cut at any width."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from bulk_export.cli import app
from bulk_export.cli.command_group import NAMES, _function
from bulk_export.cli.examples import EXAMPLES, START
from bulk_export.cli.help_text import command_help, command_lines, first_sentence, group_help
from bulk_export.cli.runner import run
from bulk_export.pipelines.declarations import Group, Source, declarations
from bulk_export.pipelines.settings.commands import COMMANDS
from bulk_export.services.catalogue import choose_endpoints, load_service

GROUP: Any = typer.main.get_command(app)
ROOT = GROUP.context_class(GROUP, info_name="bulk-export", help_option_names=["-h", "--help"])


def text_of(name: str, width: int) -> str:
    command = GROUP.commands[name]
    context = command.context_class(command, info_name=name, parent=ROOT, help_option_names=["-h", "--help"])
    return command_help(command, context, width)


@pytest.mark.parametrize("width", [50, 80, 120])
def test_no_word_is_cut(width: int) -> None:
    """Every option, metavar and word of its help stands whole in a text that keeps to the width."""
    whole = group_help(GROUP, ROOT, {name: _function(name).__doc__ or "" for name in NAMES}, width)
    assert [line for line in whole.splitlines() if len(line) > width] == []
    for name in NAMES:
        shown = text_of(name, width)
        assert [line for line in shown.splitlines() if len(line) > width] == []
        assert "\x1b" not in shown
        words = shown.split()
        for declared in declarations(COMMANDS[name]).values():
            if Source.LINE in declared.option.sources and not declared.option.positional:
                assert declared.flag in words
                assert set(f"{declared.metavar or ''} {declared.help}".split()) <= set(words)


def test_options_stand_under_their_heading() -> None:
    """The help of a command has the groups in their order, each with the options that are declared to be in it."""
    sections = dict(re.findall(r"^(\w[\w ]*):\n((?:[ ].*\n)+)", text_of("export", 120) + "\n", re.MULTILINE))
    titles = [group.value for group in Group]
    assert [title for title in sections if title in titles] == titles
    for declared in declarations(COMMANDS["export"]).values():
        if Source.LINE in declared.option.sources and not declared.option.positional:
            assert re.search(rf"{declared.flag}\b", sections[declared.option.group.value])


def test_first_line_names_what_the_command_takes() -> None:
    """The usage has the arguments, those that may be left out in brackets."""
    assert text_of("export", 80).startswith("Usage: bulk-export export [OPTIONS] [ENDPOINT ...]\n")
    assert text_of("load", 80).startswith("Usage: bulk-export load [OPTIONS] DIR|URL [ENDPOINT ...]\n")
    assert text_of("resume", 80).startswith("Usage: bulk-export resume [OPTIONS] [DIR]\n")


@pytest.mark.parametrize("line", [["--help"], ["-h"], ["export", "--help"], ["local-service", "-h"]])
def test_help_ends_well(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Asking for help is no error, and what is not a terminal gets plain text."""
    assert run(app, line) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Usage: bulk-export")
    assert "Examples:" in shown.out
    assert "\x1b" not in shown.out + shown.err


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_real(name: str) -> None:
    """Every command has one to four examples, which it takes as they are, with endpoints that exist."""
    assert 1 <= len(EXAMPLES[name]) <= 4
    for example in EXAMPLES[name]:
        program, command, *arguments = shlex.split(example.line)
        assert (program, command) == ("bulk-export", name)
        parsed = GROUP.commands[name].make_context(name, arguments, parent=ROOT).params
        names = [*(parsed.get("endpoints") or ()), *filter(None, [parsed.get("endpoint")])]
        choose_endpoints(load_service(parsed.get("service") or "npq", None), names)


def test_examples_of_the_whole_program_are_real() -> None:
    """The examples of `bulk-export --help` are command lines."""
    for example in START:
        _, command, *arguments = shlex.split(example.line)
        if arguments != ["--help"]:
            GROUP.commands[command].make_context(command, arguments, parent=ROOT)


def test_long_command_lines_are_broken_for_a_shell() -> None:
    """A shell reads a broken line as what it was, with each value beside its option."""
    line = "bulk-export export --filter 'a=b c' --output /data/npq npq-applications -n 3 --json"
    broken = command_lines(line, 30)
    assert len(broken) > 2
    assert shlex.split("\n".join(broken).replace("\\\n", "")) == shlex.split(line)
    assert any("--filter 'a=b c'" in text for text in broken)
    assert command_lines(line, 200) == [line]


def test_first_sentence() -> None:
    """A sentence ends at a stop before a space, not at one inside a file name."""
    assert first_sentence("Read bulk-export.toml\n    in full. Then go.") == "Read bulk-export.toml in full."
