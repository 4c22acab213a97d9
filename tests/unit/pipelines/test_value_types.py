"""Values that Python programs give, and the types that options declare."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest

from bulk_export.pipelines.value_types import is_of_type, type_text

PATH = str | os.PathLike[str] | None
TEXTS = str | Sequence[str]
WORDS = Literal["a", "b"] | Sequence[Literal["a", "b"]]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (Path("x"), PATH),
        (None, PATH),
        ("x", PATH),
        (("x",), TEXTS),
        ({"x": 1}.keys(), TEXTS),
        (1, bool),
        (True, bool),
        (1, str | float),
        (Fraction(1, 2), float),
        (timedelta(1), str | float | timedelta),
        (datetime.now(UTC), str | date),
        ({"a": "b"}, Sequence[str] | Mapping[str, str]),
        ("wrong word", WORDS),
        (["a"], WORDS),
    ],
)
def test_accepted(value: object, declared: Any) -> None:
    """Paths, numbers and collections of any kind are; which words an option takes is checked elsewhere."""
    assert is_of_type(value, declared)


@pytest.mark.parametrize(
    ("value", "declared", "takes"),
    [
        (3, PATH, "text, a path or None"),
        (b"x", PATH, "text, a path or None"),
        ([Path("x")], TEXTS, "text or a sequence of text"),
        (b"x", TEXTS, "text or a sequence of text"),
        ("yes", bool, "True or False"),
        (True, int | str, "a whole number or text"),
        (0.5, int, "a whole number"),
        (3, WORDS, "'a', 'b' or a sequence of 'a' or 'b'"),
        ({"a": 1}, Mapping[str, str], "a mapping of text to text"),
        ("a", timedelta, "timedelta"),
    ],
)
def test_refused(value: object, declared: Any, takes: str) -> None:
    """Anything else is, and the type is put in words."""
    assert not is_of_type(value, declared)
    assert type_text(declared) == takes
