"""Records of any shape, arranged in one: `id`, `type` and `attributes`.

Everything after the journal works on records so arranged; what a service sent is split, put together again and
rewritten in its own shape here. Values are moved as the text they were sent as.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from bulk_export.core.model import Endpoint, Kind, RecordShape
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json as exact
from bulk_export.transform.decode.body import Body, SplitBody, members, split_identified, split_page
from bulk_export.transform.decode.values import INT64, RESERVED, number
from bulk_export.transform.redaction import Redaction

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_QUOTES_COLON_COMMA = 4
_OURS = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)

Members = list[tuple[str, bytes]]


class RecordShaper:
    """The shape in which an endpoint sends records."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._shape = shape = endpoint.shape
        self.is_usual = is_usual(shape)
        self._ids_are_integers = shape.id_type is Kind.INTEGER
        self._id, self._type, self._attributes = map(_single, (shape.id, shape.type, shape.attributes))
        parts = ((schema.ID, shape.id), (schema.TYPE, shape.type or ()), (schema.ATTRIBUTES, shape.attributes))
        self._further_down = [(name, path) for name, path in parts if len(path) > 1]
        # The cells of a table are texts, whatever they mean.
        self._texts = {field.name: field.type for field in endpoint.fields} if endpoint.format == "csv" else {}
        self._before = b"".join(b"{" + _key(name) for name in shape.at) + b"["
        self._after = b"]" + b"}" * len(shape.at)

    def split(self, body: Body) -> Sequence[bytes]:
        """The records of a page, each the bytes it was sent as. Raises UnusablePage."""
        return body.records if isinstance(body, SplitBody) else split_page(body, self._shape.at)

    def identified(self, body: bytes) -> SplitBody:
        """The body with its records, and their ids where they are at hand. Raises UnusablePage."""
        known = split_identified(body) if self.is_usual else None
        return known or SplitBody(body, self.split(body))

    def join(self, records: Sequence[bytes]) -> bytes:
        """A page of records as they were sent."""
        return self._before + b",".join(records) + self._after

    def records(self, body: Body) -> list[bytes]:
        """The records of a page, arranged. Raises UnusablePage."""
        return list(map(self.arrange, self.split(body)))

    def page(self, body: Body) -> Body:
        """A page of the usual shape. Raises UnusablePage."""
        return body if self.is_usual else b'{"data":[' + b",".join(self.records(body)) + b"]}"

    def arrange(self, record: bytes) -> bytes:
        """A record with its parts where they usually are.

        A member that is not the `id`, `type` or `attributes` of the shape, but is called so, has a slash before its
        name; so does a copy of an id that is a string where numbers are described.
        """
        if self.is_usual:
            return record
        shape = self._shape
        given = members_of(record)
        found: Members = []
        for name, path in self._further_down:
            value, given = _taken_out(given, path)
            if value is not None:
                found.extend(self._identified(value) if name == schema.ID else [(name, value)])
        beside: Members = []
        for name, value in given:
            if name == self._id:
                found.extend(self._identified(value))
            elif name == self._type:
                found.append((schema.TYPE, value))
            elif name == self._attributes:
                found.append((schema.ATTRIBUTES, value))
            elif shape.attributes:
                found.append((RESERVED + name if name in _OURS else name, value))
            else:
                beside.append((name, self._typed(name, value) if self._texts else value))
        # Where there is none, whoever reads this record leaves it out again.
        if not shape.id:
            found.append((schema.ID, b'""'))
        if shape.type is None:
            found.append((schema.TYPE, b'""'))
        if not shape.attributes:
            found.append((schema.ATTRIBUTES, _object(beside)))
        return _object(found)

    def _identified(self, value: bytes) -> Members:
        if not self._ids_are_integers:
            return [(schema.ID, value)]
        if _INTEGER.fullmatch(value) and int(value) in INT64:
            return [(schema.ID, b'"' + value + b'"')]
        kept = [(RESERVED + schema.ID, value)] if value.startswith(b'"') and not self._texts else []
        return [(schema.ID, value), *kept]

    def _typed(self, name: str, value: bytes) -> bytes:
        """The cell of a table as a value of the type that is described, where it is the text of one."""
        kind = self._texts.get(name)
        if kind not in (Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER) or not value.startswith(b'"'):
            return value
        text = json.loads(value)
        if kind is Kind.BOOLEAN:
            fits = text in ("true", "false")
        elif kind is Kind.INTEGER:
            fits = bool(_INTEGER.fullmatch(value[1:-1])) and int(text) in INT64
        else:
            fits = bool(_JSON_NUMBER.fullmatch(text)) and number(exact.Number(text)) is not None
        return value[1:-1] if fits else value


def is_usual(shape: RecordShape) -> bool:
    """Whether records of this shape need no arranging, whatever identifies them."""
    return replace(shape, identity=()) == RecordShape()


def with_moved(redaction: Redaction) -> Redaction:
    """The same rules for members that have a slash before their name once they are arranged."""
    moved = {RESERVED + name: rule for name, rule in redaction.rules.items() if name in _OURS}
    return replace(redaction, rules={**redaction.rules, **moved})


def _single(path: Sequence[str] | None) -> str | None:
    return path[0] if path and len(path) == 1 else None


def members_of(record: bytes) -> Members:
    """The members of an object in order, those of a name that stands twice as well."""
    try:
        found = _MEMBERS.decode(record)
    except (msgspec.DecodeError, RecursionError):
        return members(record)
    size = sum(len(name.encode()) + len(value) for name, value in found.items()) + _QUOTES_COLON_COMMA * len(found)
    if size + 1 != len(record):
        # White space, escapes, or a key that stands twice.
        return members(record)
    return [(name, bytes(value)) for name, value in found.items()]


def member_at(given: Members, path: Sequence[str]) -> bytes | None:
    """The value that a path leads to; None where it does not lead to one value."""
    values = [value for name, value in given if name == path[0]]
    if len(values) != 1:
        return None
    if len(path) == 1:
        return values[0]
    return member_at(members_of(values[0]), path[1:]) if values[0].startswith(b"{") else None


def _taken_out(given: Members, path: Sequence[str]) -> tuple[bytes | None, Members]:
    """The value that a path leads to, and what is left of the members around it."""
    value = member_at(given, path)
    if value is None:
        return None, given
    left: Members = []
    for name, member in given:
        if name != path[0]:
            left.append((name, member))
        elif len(path) > 1:
            _, inside = _taken_out(members_of(member), path[1:])
            if inside:
                left.append((name, _object(inside)))
    return value, left


@functools.lru_cache(maxsize=4_096)
def _key(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=not exact.is_utf8(name)).encode() + b":"


def _object(pairs: Members) -> bytes:
    return b"{" + b",".join([_key(name) + value for name, value in pairs]) + b"}"
