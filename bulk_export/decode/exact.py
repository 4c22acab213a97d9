"""JSON without loss: numbers keep their digits, objects their repeated keys, strings their lone surrogates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
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


def repeats_keys(text: bytes) -> bool:
    """Whether a key stands more than once in any object of a JSON text."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len(pairs) != len({key for key, _ in pairs})

    json.JSONDecoder(object_pairs_hook=look, parse_float=str, parse_int=str).decode(text.decode())
    return found


def dumps(value: Any) -> str:
    """The compact JSON text of what `loads` gave, each number and repeated key as it was sent.

    Without recursion: a service may nest as deeply as the decoder follows.
    """
    pieces: list[str] = []
    left: list[Any] = [value]
    while left:
        item = left.pop()
        if isinstance(item, _Text):
            pieces.append(item.text)
        elif isinstance(item, Number):
            pieces.append(str(item))
        elif isinstance(item, str):
            pieces.append(_string(item))
        elif isinstance(item, dict):
            pairs = item.pairs if isinstance(item, RepeatedKeys) else list(item.items())
            left.append(_Text("}"))
            for place, (key, member) in reversed(list(enumerate(pairs))):
                left += (member, _Text(f"{',' if place else ''}{_string(key)}:"))
            left.append(_Text("{"))
        elif isinstance(item, list):
            left.append(_Text("]"))
            for place, element in reversed(list(enumerate(item))):
                left += (element, _Text("," if place else ""))
            left.append(_Text("["))
        else:
            pieces.append({None: "null", True: "true", False: "false"}[item])
    return "".join(pieces)


@dataclass(frozen=True, slots=True)
class _Text:
    """A piece of JSON text that stands as it is."""

    text: str


def is_utf8(text: str) -> bool:
    """Whether a string can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=not is_utf8(text))
