"""The body of a page, checked as a whole and cut into its records.

A body counts only when all of it is sound: UTF-8, JSON without extensions, with a list of objects at the place
where records are. Anything cut short fails here, whatever its length promised.
"""

from __future__ import annotations

import itertools
import json
import operator
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing from the stubs
from json.scanner import make_scanner
from typing import Any, overload

import msgspec
import pyarrow as pa

# The stubs type this function as a class of its own kind of argument.
_scanner: Any = make_scanner
_BOM = b"\xef\xbb\xbf"
_COMPACT_ENVELOPE = len(b'{"data":[]}')
_WHITESPACE = " \t\r\n"
_FIRST_OF_OBJECT = frozenset(b"{")
_first = operator.itemgetter(0)


class InvalidPage(ValueError):
    """A body that is not a page of records; the message says why and where, never what it held."""


@dataclass(frozen=True, slots=True)
class SplitBody:
    """A body whose records are known already, as `split_page` gives them, and perhaps the id of each."""

    text: bytes
    records: Sequence[bytes]
    ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.text)


Body = bytes | SplitBody


def text_of(body: Body) -> bytes:
    """The body as it came."""
    return body.text if isinstance(body, SplitBody) else body


class _Envelope(msgspec.Struct):
    data: list[msgspec.Raw]


_DECODER = msgspec.json.Decoder(_Envelope)
_LARGE = 4 * 1024 * 1024


class _Slices(Sequence[bytes]):
    """Pieces of a text with one byte between two, cut out when they are asked for."""

    def __init__(self, text: bytes, starts: Sequence[int]) -> None:
        """`starts` has where each piece begins, and where one after the last would."""
        self._text = text
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return list(self)[index]
        place = range(len(self))[index]
        return self._text[self._starts[place] : self._starts[place + 1] - 1]

    def __iter__(self) -> Iterator[bytes]:
        text = self._text
        return iter([text[start : after - 1] for start, after in itertools.pairwise(self._starts)])


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    type: msgspec.Raw
    attributes: msgspec.Raw


class _UsualPage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: list[_Usual]


_USUAL = msgspec.json.Decoder(_UsualPage)
_BETWEEN_VALUES = len(b'{"id":"","type":,"attributes":},')


class _Object(msgspec.Struct, gc=False):
    """Any object; its members are passed over."""


class _Objects(msgspec.Struct):
    data: list[_Object]


_OBJECTS = msgspec.json.Decoder(_Objects)


def split_identified(body: bytes) -> SplitBody | None:
    """A page that holds records of `id`, `type` and `attributes` alone, nothing between these values but what has to
    be, with the id of each record; None for any other body. It is as sound as `split_page` would have it."""
    if len(body) > _LARGE or not is_utf8(body):
        return None
    try:
        records = _USUAL.decode(body).data
    except (msgspec.DecodeError, RecursionError):
        return None
    sizes = [len(record.id) + len(record.type) + len(record.attributes) + _BETWEEN_VALUES for record in records]
    starts = list(itertools.accumulate(sizes, initial=len(b'{"data":[')))
    # White space, escapes, a member that stands twice: whatever else there is makes the body longer.
    if not records or starts[-1] + len(b"}") != len(body):
        return None
    return SplitBody(body, _Slices(body, starts), [record.id for record in records])


def split_page(body: bytes, at: Sequence[str] = ("data",)) -> list[bytes]:
    """The records of a page, each the bytes it was sent as. Raises UnusablePage.

    `at` leads to their list by the names of members; it is empty where the body is the list.
    """
    body = body.removeprefix(_BOM)
    if not is_utf8(body):
        _refuse_bytes(body)
    records = _split_usual(body) if tuple(at) == ("data",) else _split_exactly(body, at)
    if not _FIRST_OF_OBJECT.issuperset(map(_first, records)):
        number = next(number for number, record in enumerate(records) if not record.startswith(b"{"))
        raise InvalidPage(f"record {number + 1} is not an object")
    return records


def _refuse_bytes(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPage(f"not UTF-8 at byte {error.start}") from None


def _split_usual(body: bytes) -> list[bytes]:
    try:
        if len(body) > _LARGE:
            # Millions of elements that are no records are met one at a time, before any is kept.
            _OBJECTS.decode(body)
        records = list(map(bytes, _DECODER.decode(body).data))
    except msgspec.ValidationError:
        raise InvalidPage("not an object with a list of records in `data`") from None
    except RecursionError:
        raise InvalidPage("nested too deeply") from None
    except msgspec.DecodeError:
        # Lone surrogates and numbers beyond a double are sound JSON that msgspec declines.
        records = _split_exactly(body, ("data",))
    if len(body) != sum(map(len, records)) + max(0, len(records) - 1) + _COMPACT_ENVELOPE:
        outside = [body.count(mark) - sum(record.count(mark) for record in records) for mark in (b'"data"', b"\\")]
        if outside != [1, 0]:
            # Perhaps `data` stands twice, of which msgspec keeps the last; perhaps it is somebody's text.
            records = _split_exactly(body, ("data",))
    return records


def is_utf8(body: bytes) -> bool:
    """Whether all of a body is UTF-8. Six times as fast as decoding it."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(body)))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(body)])
    try:
        text.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def members(record: bytes) -> list[tuple[str, bytes]]:
    """The members of a record that `split_page` gave, in order, each the bytes it was sent as."""
    text = record.decode()
    found: list[tuple[str, bytes]] = []

    def take(key: str, start: int) -> int:
        _, end = _SCAN(text, start)
        found.append((key, text[start:end].encode()))
        return end

    _object(text, 0, take)
    return found


def _split_exactly(body: bytes, at: Sequence[str]) -> list[bytes]:
    """As `split_page`, with the standard library's scanner, which takes every sound JSON text."""
    text = body.decode()
    try:
        records, end = _find(text, 0, at)
    except StopIteration as error:
        raise InvalidPage(f"not JSON at byte {_byte(text, error.value)}") from None
    except json.JSONDecodeError as error:
        raise InvalidPage(f"not JSON at byte {_byte(text, error.pos)}") from None
    except RecursionError:
        raise InvalidPage("nested too deeply") from None
    except IndexError:
        raise InvalidPage(f"cut short at byte {len(body)}") from None
    if _skip(text, end) != len(text):
        raise InvalidPage(f"more after the end, at byte {_byte(text, end)}")
    return records


def _find(text: str, position: int, at: Sequence[str]) -> tuple[list[bytes], int]:
    """The elements of the list that `at` leads to from the value at `position`, and where that value ends."""
    if not at:
        return _elements(text, position)
    found: list[list[bytes]] = []

    def take(key: str, start: int) -> int:
        if key != at[0]:
            return _SCAN(text, start)[1]
        if found:
            raise InvalidPage(f"`{key}` more than once")
        records, end = _find(text, start, at[1:])
        found.append(records)
        return end

    end = _object(text, position, take)
    if not found:
        raise InvalidPage(f"not an object with a list of records in `{'.'.join(at)}`")
    return found[0], end


def _object(text: str, position: int, take: Callable[[str, int], int]) -> int:
    """Go through the object at `position`: `take` gets each key and where its value begins, and gives where it
    ends. Where the object ends."""
    position = _skip(text, _expect(text, position, "{"))
    if text[position] == "}":
        return position + 1
    while True:
        key, position = scanstring(text, _expect(text, position, '"'), True)  # noqa: FBT003  # positional in the C function
        position = take(key, _skip(text, _expect(text, position, ":")))
        position = _skip(text, position)
        if text[position] == "}":
            return position + 1
        position = _expect(text, position, ",")


def _elements(text: str, position: int) -> tuple[list[bytes], int]:
    position = _skip(text, _expect(text, position, "["))
    records: list[bytes] = []
    if text[position] == "]":
        return records, position + 1
    while True:
        start = position
        _, position = _SCAN(text, start)
        if text[start] != "{":
            raise InvalidPage(f"record {len(records) + 1} is not an object")
        records.append(text[start:position].encode())
        position = _skip(text, position)
        if text[position] == "]":
            return records, position + 1
        position = _skip(text, _expect(text, position, ","))


def _expect(text: str, position: int, wanted: str) -> int:
    position = _skip(text, position)
    if text[position] != wanted:
        raise InvalidPage(f"not JSON of this shape at byte {_byte(text, position)}")
    return position + 1


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position


def _byte(text: str, position: int) -> int:
    return len(text[:position].encode())


def _refuse(constant: str) -> None:
    raise InvalidPage("NaN or Infinity, which JSON does not have")


_SCAN: Callable[[str, int], tuple[Any, int]] = _scanner(
    json.JSONDecoder(parse_constant=_refuse, parse_float=str, parse_int=str)
)
