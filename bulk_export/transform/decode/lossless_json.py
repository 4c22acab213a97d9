"""JSON without loss: numbers keep their digits, objects their repeated keys, strings their lone surrogates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

# Python follows about a thousand levels, including those of its own calls.
MAX_DEPTH = 800


class Number(str):
    """A JSON number in the digits it was sent with."""

    __slots__ = ()


class RepeatedKeys(dict[str, Any]):
    """A JSON object in which a key occurs more than once.

    As a dict it holds the last value of each key; `pairs` are all members in order.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    def overridden(self) -> dict[str, list[Any]]:
        """The values that a later one replaced, by key, in order."""
        values: dict[str, list[Any]] = {}
        for key, value in self.pairs:
            values.setdefault(key, []).append(value)
        return {key: earlier[:-1] for key, earlier in values.items() if len(earlier) > 1}


def loads(text: bytes) -> Any:
    """Parse a JSON text that `split_page` has accepted. Numbers become `Number`.

    >>> loads(b'{"price": 1.10}')
    {'price': '1.10'}
    """
    return _DECODER.decode(text.decode())


def dumps(value: Any) -> str:
    """Write what `loads` returned as compact JSON, each number and repeated key as it was sent.

    Works without recursion, since a service may nest as deeply as the decoder follows.
    """
    pieces: list[str] = []
    # The objects and lists around the current position: what is left of each, and its closing bracket.
    unfinished: list[tuple[Iterator[tuple[str, Any]], str]] = [(iter([("", value)]), "")]
    while unfinished:
        members, closing = unfinished[-1]
        for prefix, member in members:
            pieces.append(prefix)
            if isinstance(member, dict):
                pieces.append("{")
                unfinished.append((_with_keys(member), "}"))
                break
            if isinstance(member, list):
                pieces.append("[")
                unfinished.append((_with_commas(member), "]"))
                break
            pieces.append(_scalar(member))
        else:
            pieces.append(closing)
            unfinished.pop()
    return "".join(pieces)


def nested_deeper_than(levels: int, text: bytes) -> bool:
    """Whether a valid JSON text has more than `levels` lists and objects inside one another."""
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        bracket = token[0]
        if bracket in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif bracket in b"}]":
            depth -= 1
    return False


def is_encodable(text: str) -> bool:
    """Whether a string can be written as UTF-8, that is, has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else RepeatedKeys(pairs)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=not is_encodable(text))


def _with_keys(members: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for key, member in members.pairs if isinstance(members, RepeatedKeys) else members.items():
        yield f"{comma}{_string(key)}:", member
        comma = ","


def _with_commas(elements: list[Any]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for element in elements:
        yield comma, element
        comma = ","


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return str(value) if isinstance(value, Number) else _string(value)
    return _LITERALS[value]


_LITERALS = {None: "null", True: "true", False: "false"}
# Brackets inside of strings do not count.
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=Number)
