"""Functions for programs without an event loop, called where one is running."""

from __future__ import annotations

import inspect

import pytest

import bulk_export

RUN = sorted(name for name in bulk_export.__all__ if name.startswith("run_"))


@pytest.mark.parametrize("name", RUN)
async def test_says_what_to_await(name: str) -> None:
    """In a notebook, each says which function to await, as which it is exported, too."""
    function = getattr(bulk_export, name)
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    with pytest.raises(bulk_export.UsageError) as refused:
        function(*("x" for _ in required))
    other = name.removeprefix("run_")
    assert str(refused.value).endswith(f"Write `await bulk_export.{other}(…)` instead.")
    assert inspect.iscoroutinefunction(getattr(bulk_export, other))


def test_errors_have_no_history() -> None:
    """A traceback shows what was raised, and not that there was no loop before."""
    with pytest.raises(bulk_export.UsageError, match="no endpoint") as refused:
        bulk_export.run_export("statement", environment="local")
    assert refused.value.__context__ is None


def test_same_parameters() -> None:
    """Such a function takes what the other one takes, except for `stop`, which a running program can set only."""
    for name in RUN:
        blocking = inspect.signature(getattr(bulk_export, name)).parameters
        awaited = inspect.signature(getattr(bulk_export, name.removeprefix("run_"))).parameters
        assert [*blocking] == [parameter for parameter in awaited if parameter != "stop"], name
