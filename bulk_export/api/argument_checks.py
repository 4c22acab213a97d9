"""The arguments of a call, checked before the function does anything.

The annotations of a function and the declarations of its options say what it takes, and nothing else does: type
checkers read them before a program runs, and this module reads them when it does.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, get_args, get_type_hints

from bulk_export.errors import InvalidArgument
from bulk_export.pipelines.declarations import short_forms
from bulk_export.pipelines.invalid_arguments import unknown_argument, value_of_another_type
from bulk_export.pipelines.value_types import is_of_type

F = TypeVar("F", bound=Callable[..., Any])

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_SHOWN_NAMES = 3


def checks_arguments(function: F) -> F:
    """Make a function refuse what it does not take: names, numbers and types of arguments.

    A call raises InvalidArgument, one of an asynchronous function when it is awaited. The annotations are read at the
    first call.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def checked_when_awaited(*args: Any, **kwargs: Any) -> Any:
            _check(function, args, kwargs)
            return await function(*args, **kwargs)

        return cast("F", checked_when_awaited)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        _check(function, args, kwargs)
        return function(*args, **kwargs)

    return cast("F", checked)


@dataclass(frozen=True, slots=True)
class _Accepted:
    """What a function takes.

    Args:
        signature: Its parameters, options included.
        types: Their types by name.
        short_forms: The letters of the command line for some of them.
    """

    signature: inspect.Signature
    types: Mapping[str, Any]
    short_forms: Mapping[str, str]

    @property
    def keywords(self) -> list[str]:
        """The parameters that may be given by name."""
        taken = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        return [name for name, parameter in self.signature.parameters.items() if parameter.kind in taken]


@functools.cache
def _accepted_by(function: Callable[..., Any]) -> _Accepted:
    signature = inspect.signature(function)  # `shows_options` has put the options and their types into it
    hints = get_type_hints(function)
    types = {name: hints.get(name, parameter.annotation) for name, parameter in signature.parameters.items()}
    options = get_args(hints["options"]) if "options" in hints else ()
    return _Accepted(signature, types, short_forms(options[0]) if options else {})


def _check(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    accepted = _accepted_by(function)
    name = function.__name__
    for argument in kwargs:
        if argument not in accepted.keywords:
            raise unknown_argument(name, argument, accepted.keywords, accepted.short_forms)
    try:
        bound = accepted.signature.bind(*args, **kwargs)
    except TypeError as error:
        shape = ", ".join(_shape(accepted.signature))
        raise InvalidArgument(f"{name}: {error}.", next_step=f"It is called as {name}({shape}).") from None
    for argument, value in bound.arguments.items():
        is_repeated = accepted.signature.parameters[argument].kind is inspect.Parameter.VAR_POSITIONAL
        for each in value if is_repeated else (value,):
            if not is_of_type(each, accepted.types[argument]):
                label = f"*{argument}" if is_repeated else argument
                call = _right_call(name, accepted, argument, each)
                raise (
                    value_of_another_type(label, accepted.types[argument], each, f"Write {call}.")
                    if call
                    else value_of_another_type(label, accepted.types[argument], each)
                )


def _shape(signature: inspect.Signature) -> Iterator[str]:
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            yield f"*{name}"
        elif parameter.kind in _POSITIONAL and parameter.default is parameter.empty:
            yield name
    yield "…"


def _right_call(name: str, accepted: _Accepted, argument: str, value: object) -> str | None:
    """The call that is meant if a list stands for its text, a text for its list, or another value for a text."""
    declared = accepted.types[argument]
    if isinstance(value, str) and is_of_type([value], declared):
        return f"{argument}=[{_quoted(value)}]"
    if isinstance(value, Mapping) and is_of_type({"": ""}, declared):
        keys = [key for key, each in value.items() if isinstance(key, str) and not isinstance(each, str)]
        return f'{argument}={{{_quoted(keys[0])}: "…"}}' if keys else None
    if not isinstance(value, Collection) or isinstance(value, str | bytes) or not is_of_type("", declared):
        return None
    texts = [_quoted(each) for each in value if isinstance(each, str | os.PathLike)]
    parameter = accepted.signature.parameters[argument]
    if not texts:
        return None
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        before = any(each.kind in _POSITIONAL for each in accepted.signature.parameters.values())
        given = [*(["…"] if before else []), *texts[:_SHOWN_NAMES], "…"]
    elif parameter.kind in _POSITIONAL:
        given = [*(["…"] if [*accepted.signature.parameters].index(argument) else []), texts[0], "…"]
    else:
        return f"{argument}={texts[0]}" if len(value) == 1 else None
    return f"{name}({', '.join(given)})"


def _quoted(value: object) -> str:
    return json.dumps(os.fsdecode(cast("str | os.PathLike[str]", value)), ensure_ascii=False)
