"""Errors: what a user sees of them, and what a script does."""

from __future__ import annotations

import pickle
import re

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
