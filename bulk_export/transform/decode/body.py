"""The body of a page: checked completely, and split into its records.

A body is accepted only if all of it is valid: UTF-8, JSON without extensions, and a list of objects where the records
are expected. A body that was cut short fails here, whatever its headers said.

Two ways to split, each for what the one before cannot decide; `scanned_page` is a faster one before both:

1. msgspec, for pages with the records in `data`.
2. The scanner of the standard library, which accepts every valid JSON text, wherever the records are.
"""

from __future__ import annotations

import json
import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing from the stubs
from json.scanner import make_scanner
from typing import Any

import msgspec

# The stubs type this function as a class of its own kind of argument.
_scanner: Any = make_scanner
_BOM = b"\xef\xbb\xbf"
_EMPTY_PAGE_SIZE = len(b'{"data":[]}')
_WHITESPACE = " \t\r\n"
_FIRST_OF_OBJECT = frozenset(b"{")
_first = operator.itemgetter(0)
_LARGE = 4 * 1024 * 1024


class InvalidPage(ValueError):
    """A body that is not a page of records. The message says why and where, and never quotes the body."""


@dataclass(frozen=True, slots=True)
class SplitBody:
    """A body with its records, as `split_page` returns them, and the id of each if they are known."""

    text: bytes
    records: Sequence[bytes]
    ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.text)


Body = bytes | SplitBody


def text_of(body: Body) -> bytes:
    """The body as it was sent."""
    return body.text if isinstance(body, SplitBody) else body


def split_page(body: bytes, at: Sequence[str] = ("data",)) -> list[bytes]:
    """Split a page into its records, each in the bytes it was sent as.

    Args:
        body: The body; a byte order mark is passed over.
        at: The names of the members that lead to the list of records; empty if the body is the list.

    Raises:
        InvalidPage: The body is not a page of records.
    """
    body = body.removeprefix(_BOM)
    if not is_utf8(body):
        _raise_not_utf8(body)
    records = _split_with_msgspec(body) if tuple(at) == ("data",) else _split_with_scanner(body, at)
    if not _FIRST_OF_OBJECT.issuperset(map(_first, records)):
        index = next(index for index, record in enumerate(records) if not record.startswith(b"{"))
        raise InvalidPage(f"record {index + 1} is not an object")
    return records


def is_utf8(body: bytes) -> bool:
    """Whether all of a body is UTF-8. Six times as fast as decoding it."""
    import pyarrow as pa

    offsets = pa.py_buffer(struct.pack("<qq", 0, len(body)))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(body)])
    try:
        text.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def scan_members(record: bytes) -> list[tuple[str, bytes]]:
    """The members of a record that `split_page` returned, in order, each value in the bytes it was sent as."""
    text = record.decode()
    members: list[tuple[str, bytes]] = []

    def append(key: str, start: int) -> int:
        _, end = _SCAN(text, start)
        members.append((key, text[start:end].encode()))
        return end

    _scan_object(text, 0, append)
    return members


class _Page(msgspec.Struct):
    data: list[msgspec.Raw]


class _AnyObject(msgspec.Struct, gc=False):
    """Any object; its members are passed over."""


class _PageOfObjects(msgspec.Struct):
    data: list[_AnyObject]


_PAGE = msgspec.json.Decoder(_Page)
_PAGE_OF_OBJECTS = msgspec.json.Decoder(_PageOfObjects)


def _raise_not_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidPage(f"not UTF-8 at byte {error.start}") from None


def _split_with_msgspec(body: bytes) -> list[bytes]:
    try:
        if len(body) > _LARGE:
            # Refuse millions of elements that are no records one at a time, before any is kept.
            _PAGE_OF_OBJECTS.decode(body)
        records = list(map(bytes, _PAGE.decode(body).data))
    except msgspec.ValidationError:
        raise InvalidPage("not an object with a list of records in `data`") from None
    except RecursionError:
        raise InvalidPage("nested too deeply") from None
    except msgspec.DecodeError:
        # msgspec declines lone surrogates and numbers beyond a double, which are valid JSON.
        records = _split_with_scanner(body, ("data",))
    if len(body) != sum(map(len, records)) + max(0, len(records) - 1) + _EMPTY_PAGE_SIZE:
        # There is something beside the records. If that has one `"data"` and no escape, it has no second `data`.
        outside = [body.count(mark) - sum(record.count(mark) for record in records) for mark in (b'"data"', b"\\")]
        if outside != [1, 0]:
            # Perhaps `data` occurs twice, of which msgspec keeps the last; perhaps the text is a value.
            records = _split_with_scanner(body, ("data",))
    return records


def _split_with_scanner(body: bytes, at: Sequence[str]) -> list[bytes]:
    text = body.decode()
    try:
        records, end = _find_records(text, 0, at)
    except StopIteration as error:
        raise InvalidPage(f"not JSON at byte {_byte(text, error.value)}") from None
    except json.JSONDecodeError as error:
        raise InvalidPage(f"not JSON at byte {_byte(text, error.pos)}") from None
    except RecursionError:
        raise InvalidPage("nested too deeply") from None
    except IndexError:
        raise InvalidPage(f"cut short at byte {len(body)}") from None
    if _skip_whitespace(text, end) != len(text):
        raise InvalidPage(f"more after the end, at byte {_byte(text, end)}")
    return records


def _find_records(text: str, position: int, at: Sequence[str]) -> tuple[list[bytes], int]:
    """Follow `at` from the value at `position` to the list of records. Return them, and where that value ends."""
    if not at:
        return _scan_records(text, position)
    found: list[list[bytes]] = []

    def follow(key: str, start: int) -> int:
        if key != at[0]:
            return _SCAN(text, start)[1]
        if found:
            raise InvalidPage(f"`{key}` more than once")
        records, end = _find_records(text, start, at[1:])
        found.append(records)
        return end

    end = _scan_object(text, position, follow)
    if not found:
        raise InvalidPage(f"not an object with a list of records in `{'.'.join(at)}`")
    return found[0], end


def _scan_object(text: str, position: int, visit: Callable[[str, int], int]) -> int:
    """Scan the object at `position` and return where it ends.

    `visit` is called with each key and the position of its value, and returns where the value ends.
    """
    position = _skip_whitespace(text, _expect(text, position, "{"))
    if text[position] == "}":
        return position + 1
    while True:
        key, position = scanstring(text, _expect(text, position, '"'), True)  # noqa: FBT003  # positional in the C function
        position = visit(key, _skip_whitespace(text, _expect(text, position, ":")))
        position = _skip_whitespace(text, position)
        if text[position] == "}":
            return position + 1
        position = _expect(text, position, ",")


def _scan_records(text: str, position: int) -> tuple[list[bytes], int]:
    position = _skip_whitespace(text, _expect(text, position, "["))
    records: list[bytes] = []
    if text[position] == "]":
        return records, position + 1
    while True:
        start = position
        _, position = _SCAN(text, start)
        if text[start] != "{":
            raise InvalidPage(f"record {len(records) + 1} is not an object")
        records.append(text[start:position].encode())
        position = _skip_whitespace(text, position)
        if text[position] == "]":
            return records, position + 1
        position = _skip_whitespace(text, _expect(text, position, ","))


def _expect(text: str, position: int, wanted: str) -> int:
    position = _skip_whitespace(text, position)
    if text[position] != wanted:
        raise InvalidPage(f"not JSON of this shape at byte {_byte(text, position)}")
    return position + 1


def _skip_whitespace(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position


def _byte(text: str, position: int) -> int:
    return len(text[:position].encode())


def _refuse_constant(constant: str) -> None:
    raise InvalidPage("NaN or Infinity, which JSON does not have")


_SCAN: Callable[[str, int], tuple[Any, int]] = _scanner(
    json.JSONDecoder(parse_constant=_refuse_constant, parse_float=str, parse_int=str)
)
