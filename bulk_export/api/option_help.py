"""Options shown where programmers look: in `help()`, in the tooltips and completions of notebooks, in references.

Type checkers and editors read `**options: Unpack[…]` by themselves. Python does not: it would show `**options`.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar, cast

from bulk_export.pipelines.declarations import Declaration, Source, declarations

F = TypeVar("F", bound=Callable[..., Any])

_WIDTH = 116


def shows_options(arguments: type) -> Callable[[F], F]:
    """Give a function that takes `**options` a signature with each of them, and list them in its docstring.

    Args:
        arguments: The `TypedDict` that declares them.
    """

    def shown(function: F) -> F:
        declared = [entry for entry in declarations(arguments).values() if Source.PYTHON in entry.option.sources]
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        changed = cast("Any", function)
        changed.__signature__ = signature.replace(parameters=[*own, *map(_parameter, declared)])
        changed.__doc__ = f"{inspect.getdoc(function)}\n\nOptions:\n{''.join(map(_lines, declared))}"
        return function

    return shown


def _parameter(declared: Declaration) -> inspect.Parameter:
    return inspect.Parameter(
        declared.name, inspect.Parameter.KEYWORD_ONLY, default=declared.default, annotation=declared.type
    )


def _lines(declared: Declaration) -> str:
    text = f"{declared.name}: {declared.help}"
    return textwrap.fill(text, _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_on_hyphens=False) + "\n"
