"""JSON without loss: numbers keep their digits, objects their repeated keys, strings their lone surrogates."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any


class Number(str):
    """A JSON number in the digits it was sent with."""

    __slots__ = ()


class RepeatedKeys(dict[str, Any]):
    """A JSON object in which a key stood more than once. As a dict it holds the last value of each key;
    `pairs` is all of them in order."""

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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else RepeatedKeys(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=Number, parse_int=Number)


def loads(text: bytes) -> Any:
    """A JSON text that `split_page` has accepted, as values; numbers are `Number`."""
    return _DECODER.decode(text.decode())


def dumps(value: Any) -> str:
    """The compact JSON text of what `loads` gave, each number and repeated key as it was sent.

    Without recursion: a service may nest as deeply as the decoder follows.
    """
    pieces: list[str] = []
    unfinished: list[tuple[Iterator[tuple[str, Any]], str]] = [(iter([("", value)]), "")]
    while unfinished:
        members, closing = unfinished[-1]
        for before, member in members:
            pieces.append(before)
            if isinstance(member, dict):
                pieces.append("{")
                unfinished.append((_keyed(member), "}"))
                break
            if isinstance(member, list):
                pieces.append("[")
                unfinished.append((_listed(member), "]"))
                break
            pieces.append(_scalar(member))
        else:
            pieces.append(closing)
            unfinished.pop()
    return "".join(pieces)


def nested_deeper_than(levels: int, text: bytes) -> bool:
    """Whether lists and objects in a sound JSON text stand inside one another in more than `levels` levels."""
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    depth = 0
    for token in _BRACKETS.finditer(text):
        bracket = token[0]
        if bracket in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif bracket in b"}]":
            depth -= 1
    return False


# A string, whose brackets do not count, or a bracket.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)


def escapes(text: bytes) -> int:
    """By how much a sound JSON text is longer than it were if strings were written without escapes."""
    surplus = 0
    # Looking for one byte is what the library does fastest; a pattern over all of a page takes twice as long.
    place = text.find(_BACKSLASH)
    while place >= 0:
        if text[place + 1] == _U:
            surplus += _surplus(text[place + 2 : place + 6])
            place = text.find(_BACKSLASH, place + 6)
        else:
            surplus += 1
            place = text.find(_BACKSLASH, place + 2)
    return surplus


_BACKSLASH = b"\\"
_U = ord("u")


@functools.lru_cache(maxsize=4_096)
def _surplus(digits: bytes) -> int:
    """The same for one escape of six bytes."""
    code = int(digits, base=16)
    if 0xD800 <= code < 0xE000:
        # Half of a pair of twelve bytes for a character of four.
        return 4
    return 6 - len(chr(code).encode())


def is_utf8(text: str) -> bool:
    """Whether a string can be written as UTF-8: it holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=not is_utf8(text))


def _keyed(members: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for key, member in members.pairs if isinstance(members, RepeatedKeys) else members.items():
        yield f"{comma}{_string(key)}:", member
        comma = ","


def _listed(elements: list[Any]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for element in elements:
        yield comma, element
        comma = ","


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return str(value) if isinstance(value, Number) else _string(value)
    return _WORDS[value]


_WORDS = {None: "null", True: "true", False: "false"}
