"""Options in the signature and the docstring of a function."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

import bulk_export
from bulk_export.pipelines.declarations import Source, declarations


def with_options() -> dict[str, type]:
    """The public functions that take options, each with what declares them."""
    found = {}
    for name in bulk_export.__all__:
        function = getattr(bulk_export, name)
        if inspect.isfunction(function) and "options" in function.__annotations__:
            (found[name],) = typing.get_args(typing.get_type_hints(function)["options"])
    return found


FUNCTIONS = with_options()


def test_most_functions_have_options() -> None:
    assert len(FUNCTIONS) > 20


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_shown(name: str) -> None:
    """Python shows each option with its type and default, and its help."""
    function: Any = getattr(bulk_export, name)
    shown = inspect.signature(function).parameters
    text = " ".join(inspect.getdoc(function).split())
    assert "options" not in shown
    for option, declared in declarations(FUNCTIONS[name]).items():
        if Source.PYTHON in declared.option.sources:
            assert (shown[option].default, shown[option].annotation) == (declared.default, declared.type)
            assert f"{option}: {' '.join(declared.help.split())}" in text
