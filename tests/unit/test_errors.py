"""Errors: what a user sees of them, and what a script does."""

from __future__ import annotations

import ast
import inspect
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_export
from bulk_export import errors
from bulk_export.errors import BulkExportError


def kinds(of: type[BulkExportError] = BulkExportError) -> list[type[BulkExportError]]:
    return [of, *(below for kind in of.__subclasses__() for below in kinds(kind))]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UsageError", 2),
        ("ServiceRefused", 3),
        ("SchemaDrift", 3),
        ("ServiceFailing", 4),
        ("LocalFailure", 5),
        ("DamagedState", 5),
        ("BudgetUnavailable", 5),
        ("VerificationFailed", 6),
        ("Interrupted", 130),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    """Each error has the exit code that scripts rely on."""
    assert getattr(errors, name).exit_code == code


def test_documented_tree_is_right() -> None:
    """The tree at the top of the module is that of the classes."""
    assert errors.__doc__ is not None
    drawn = dict(re.findall(r"[├└]── (\w+) +(\d+) ", errors.__doc__))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in kinds()[1:]}


@pytest.mark.parametrize("kind", kinds())
def test_text_holds_the_next_step(kind: type[BulkExportError]) -> None:
    """The text of an error says all, wherever it is caught, also after it was pickled."""
    error = kind("It broke.", kept="All is kept.", next_step="Mend it.")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "It broke. All is kept. Mend it."
    assert str(kind("It broke.")) == "It broke."


@pytest.mark.parametrize("kind", kinds())
def test_an_error_is_one_line_or_two(kind: type[BulkExportError]) -> None:
    assert kind("It broke.").lines() == ["It broke."]
    assert kind("It broke.", next_step="Mend it.").lines() == ["It broke.", "Mend it."]
    assert kind("It broke.", kept="All is kept.", next_step="Mend it.").lines() == [
        "It broke.",
        "All is kept. Mend it.",
    ]


PACKAGE = Path(errors.__file__).parent
KINDS = {kind.__name__ for kind in kinds()}
MAKES_ERROR = re.compile(rf"\b({'|'.join(KINDS)})\(")
# What the command line says when it was stopped before there was anything to go on with.
_WITHOUT_STEP = {("cli/reporting.py", "Interrupted"), ("cli/runner.py", "Interrupted")}


def made_errors(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The errors that a module makes: the class, and the call."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)) if MAKES_ERROR.search(text) else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            yield node.func.id, node


MADE = [
    (path.relative_to(PACKAGE).as_posix(), name, call)
    for path in sorted(PACKAGE.rglob("*.py"))
    for name, call in made_errors(path)
]


def test_every_error_has_a_next_step() -> None:
    """Wherever one is made, its text ends with what the user can do."""
    assert len(MADE) > 300
    lacking = set()
    for path, name, call in MADE:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        # `**` passes on what another error had.
        if None not in given and ast.unparse(given.get("next_step", ast.Constant(""))) == "''":
            lacking.add((path, name))
    assert lacking == _WITHOUT_STEP


# Programs of others; and settings files, which only the command line reads.
_NOT_OURS = {"dataset", "config", "help"}


def test_advice_can_be_followed_from_python() -> None:
    """Below the command line, the options and commands that an error names are arguments and functions, too."""
    functions = {name for name in bulk_export.__all__ if inspect.isfunction(getattr(bulk_export, name))}
    arguments = {name for one in functions for name in inspect.signature(getattr(bulk_export, one)).parameters}
    for path, _, call in MADE:
        if path.startswith("cli/"):
            continue
        texts = [
            part.value for part in ast.walk(call) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        text = " ".join(texts)
        options = set(re.findall(r"--([a-z][a-z-]+)", text)) - _NOT_OURS
        if "the logger bulk_export" in text:
            options.discard("debug")
        assert {option.replace("-", "_") for option in options} <= arguments, (path, text)
        # "Install bulk-export again" names no command.
        assert set(re.findall(r"bulk-export ([a-z]+) ", text)) <= {*functions, "again"}, (path, text)
