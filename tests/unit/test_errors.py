"""Errors: what a user sees of them, and what a script does."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def made_errors(path: Path) -> Iterator[tuple[str, dict[str | None, ast.expr]]]:
    """The errors that a module makes: the class, and the keyword arguments."""
    text = path.read_text("utf-8")
    for node in ast.walk(ast.parse(text)) if MAKES_ERROR.search(text) else ():
        name = getattr(getattr(node, "func", None), "id", "") if isinstance(node, ast.Call) else ""
        if name in KINDS:
            assert isinstance(node, ast.Call)
            yield name, {keyword.arg: keyword.value for keyword in node.keywords}


def test_every_error_has_a_next_step() -> None:
    """Wherever one is made, its text ends with what the user can do."""
    made = [
        (path.relative_to(PACKAGE).as_posix(), name, given)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name, given in made_errors(path)
    ]
    assert len(made) > 300
    lacking = {
        (path, name)
        for path, name, given in made
        if None not in given  # `**` passes on what another error had
        and ast.unparse(given.get("next_step", ast.Constant(""))) == "''"
    }
    assert lacking == _WITHOUT_STEP
