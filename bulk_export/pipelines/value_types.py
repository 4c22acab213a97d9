"""Whether a value that a Python program gave has the declared type of an option, and how a message names that type."""

from __future__ import annotations

import inspect
import numbers
import os
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

# Numbers of other libraries count as those of Python, and 0 and 1 as switches.
_ACCEPTED: Mapping[Any, tuple[type, ...]] = {
    bool: (bool, numbers.Integral),
    int: (numbers.Integral,),
    float: (numbers.Real,),
}
_SHOWN = {str: "text", type(None): "None", bool: "True or False", int: "a whole number", float: "a number"}


def is_of_type(value: object, declared: Any) -> bool:
    """Whether a value has a declared type: a union of classes, literals, sequences, mappings and functions.

    A function has to accept as many arguments as it will be called with, and must not be asynchronous. Literals count
    as the type of their words here: whether it is one of them is checked where the option is read, which knows better
    what to say. Any collection but a text counts as a sequence, and so do the keys of a mapping.

    >>> is_of_type(["a"], str | Sequence[str]), is_of_type([1], str | Sequence[str])
    (True, False)
    """
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        return any(is_of_type(value, member) for member in get_args(declared))
    if origin is Literal:
        return any(is_of_type(value, type(word)) for word in get_args(declared))
    if origin is Sequence:
        (item,) = get_args(declared)
        return (
            isinstance(value, Collection)
            and not isinstance(value, str | bytes | Mapping)
            and all(is_of_type(element, item) for element in value)
        )
    if origin is Mapping:
        key, item = get_args(declared)
        return isinstance(value, Mapping) and all(
            is_of_type(name, key) and is_of_type(element, item) for name, element in value.items()
        )
    if origin is Callable:
        return callable(value) and not inspect.iscoroutinefunction(value) and _accepts(value, _count(declared))
    if declared in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, _ACCEPTED.get(declared, origin or declared))


def _count(declared: Any) -> int:
    """How many arguments a declared function is called with."""
    arguments, _ = get_args(declared)
    return len(arguments)


def _accepts(function: Callable[..., object], count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some functions in C do not say
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def value_text(value: object) -> str:
    """The type of a value in words, for messages: never the value itself."""
    if inspect.iscoroutinefunction(value):
        return "an asynchronous function"
    if inspect.isfunction(value) or inspect.ismethod(value):
        return f"a function with the parameters ({', '.join(inspect.signature(value).parameters)})"
    return f"a value of type {_class_name(type(value))}"


def _class_name(kind: type) -> str:
    """A class as programs write it, without the modules in which it is kept."""
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library in ("builtins", "datetime", "bulk_export") else f"{library}.{kind.__name__}"


def type_text(declared: Any) -> str:
    """A declared type in words, for messages.

    >>> type_text(str | os.PathLike[str] | None), type_text(Sequence[str] | Literal["a", "b"])
    ('text, a path or None', "a sequence of text, 'a' or 'b'")
    """
    words = list(dict.fromkeys(_texts(declared)))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _texts(declared: Any) -> list[str]:
    origin, members = get_origin(declared), get_args(declared)
    if origin in (Union, types.UnionType):
        return [text for member in members for text in _texts(member)]
    if origin is Literal:
        return [repr(word) for word in members]
    if origin is Sequence:
        return [f"a sequence of {type_text(members[0])}"]
    if origin is Mapping:
        return [f"a mapping of {type_text(members[0])} to {type_text(members[1])}"]
    if origin is os.PathLike:
        return ["a path"]
    if origin is Callable:
        count = _count(declared)
        return [f"a function of {count} argument{'s' if count != 1 else ''}"]
    return [_SHOWN[declared] if declared in _SHOWN else _class_name(declared)]
