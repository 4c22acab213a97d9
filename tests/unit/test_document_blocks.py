"""Every program and command in the documents is tried by a test, or says why it is not.

A block in a fence is tried by the test that `TRIED` names for its document and language. Otherwise a comment stands
before it: `<!-- not run: the reason -->`. Commands of ours are parsed wherever they stand, marked or not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from bulk_export.cli import app
from bulk_export.services.catalogue import load_service

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
# The test that reads the blocks of a language in a document.
TRIED = {
    ("README.md", "python"): "unit/test_documents.py",
    ("descriptions.md", "toml"): "unit/test_documents.py",
    ("guide.md", "toml"): "unit/test_document_blocks.py",
    ("guide.md", "python"): "unit/test_documents.py",
    ("loading.md", "python"): "service/destinations/test_recipes.py",
    ("scheduling.md", "ini"): "unit/test_recipes.py",
    ("scheduling.md", "python"): "unit/test_recipes.py",
    ("scheduling.md", "sh"): "unit/test_recipes.py",
    ("tutorial.md", "python"): "service/test_installed.py",
    ("tutorial.md", "sh"): "service/test_installed.py",
}
_FENCE = re.compile(r"^(?P<before>[^\n]*)\n\s*```(?P<language>\w*)\n(?P<text>.*?)^\s*```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- not run: \S.*-->")
# A command in a program for a shell, after the fields of cron, too; and in a list of commands.
_COMMAND = re.compile(r"(?<![\w-])bulk-export ([a-z][a-z-]+ (?:.*\\\n)*.*)$", re.MULTILINE)
_INDENTED = re.compile(r"^    (bulk-export (?:.*\\\n)*.*)$", re.MULTILINE)
# Where the arguments of a command end.
_ENDS = re.compile(r"\s(?:[>|#…].*|&&.*|2>.*)$")


@dataclass(frozen=True)
class Block:
    document: str
    language: str
    text: str
    marked: bool


def blocks(document: Path) -> Iterator[Block]:
    text = document.read_text()
    for found in _FENCE.finditer(text):
        before = text[: found.start("language")].removesuffix("```").rstrip().rsplit("\n", 1)[-1]
        yield Block(document.name, found["language"], found["text"], _MARK.fullmatch(before.strip()) is not None)


def commands(document: Path) -> list[str]:
    programs = [*_INDENTED.findall(document.read_text())]
    programs += [block.text for block in blocks(document) if block.language == "sh"]
    found = [command for program in programs for command in _COMMAND.findall(program)]
    return [_ENDS.sub("", command.replace("\\\n", " ")) for command in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_is_tried_or_marked(document: Path) -> None:
    """A block in a fence has a test that reads its document, or a reason why it has none."""
    for block in blocks(document):
        tried = TRIED.get((block.document, block.language))
        assert block.marked or tried is not None, f"{document.name}: {block.text[:80]}"
        if tried is not None:
            assert document.name in (ROOT / "tests" / tried).read_text(), tried
        if block.language == "python":
            compile(block.text, document.name, "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_accepted(document: Path) -> None:
    """The command line takes each command that a document shows, with values of the right kind."""
    for line in commands(document):
        name, *arguments = shlex.split(line.replace("\\%", "%"))
        assert name in COMMANDS, line
        parse(name, arguments)


def parse(name: str, arguments: list[str]) -> None:
    """Parse a command as it would be run, without running it."""
    command: Any = COMMANDS[name]
    context = command.context_class(command, info_name=name)
    options, rest, order = command.make_parser(context).parse_args(list(arguments))
    assert rest == []
    for parameter in order:
        parameter.type_cast_value(context, options.get(parameter.name))
    if name in ("export", "sync", "plan", "head") and not options.get("service"):
        named = next((options[parameter.name] for parameter in order if parameter.param_type_name == "argument"), None)
        assert set([named] if isinstance(named, str) else named or ()) <= endpoint_names()


@cache
def endpoint_names() -> set[str]:
    return {endpoint.name for service in ("npq", "ecf", "ect") for endpoint in load_service(service)}


def test_a_wrong_command_is_noticed() -> None:
    """An option, a value and an endpoint that do not exist are errors."""
    for arguments in (["--outputs", "x"], ["--page-size"], ["npq-aplications"]):
        with pytest.raises((Exception, AssertionError), match=r"outputs|page-size|aplications"):
            parse("export", arguments)


def test_tenants_of_the_guide_are_read(tmp_path: Path) -> None:
    """The file of tenants in guide.md is one that the program takes."""
    from bulk_export.pipelines.tenants_file import read_tenants

    (text,) = [block.text for block in blocks(ROOT / "docs/guide.md") if block.language == "toml"]
    (tmp_path / "tenants.toml").write_text(text)
    for name in ("north", "south"):
        (tmp_path / f"{name}.token").write_text(name)
    assert [tenant.name for tenant in read_tenants(tmp_path / "tenants.toml")] == ["north", "south"]
