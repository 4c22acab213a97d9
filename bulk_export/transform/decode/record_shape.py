"""Records of any shape, normalized to the one of JSON:API: `id`, `type` and `attributes`.

Everything after the journal works on normalized records. Here they are split from what a service sent, normalized, and
put together again in the shape of the service. Values are moved as the text they were sent as.
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
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.body import Body, SplitBody, scan_members, split_page
from bulk_export.transform.decode.scanned_page import ScannedRecords, scan_page
from bulk_export.transform.decode.values import INT64, RESERVED, parse_number
from bulk_export.transform.redaction import Redaction

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_QUOTES_COLON_COMMA = 4
_NORMALIZED_NAMES = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)

Members = list[tuple[str, bytes]]
_DATA = ("data",)


class RecordShaper:
    """Splits, normalizes and joins records of the shape in which an endpoint sends them.

    `is_json_api` says that they need no normalizing.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._shape = shape = endpoint.shape
        self.is_json_api = is_json_api(shape)
        self._ids_are_integers = shape.id_type is Kind.INTEGER
        self._id, self._type, self._attributes = map(_single_name, (shape.id, shape.type, shape.attributes))
        parts = ((schema.ID, shape.id), (schema.TYPE, shape.type or ()), (schema.ATTRIBUTES, shape.attributes))
        self._nested = [(name, path) for name, path in parts if len(path) > 1]
        # The cells of a table are texts, whatever their type is.
        self._cell_types = {field.name: field.type for field in endpoint.fields} if endpoint.format == "csv" else {}
        self._prefix = b"".join(b"{" + _key(name) for name in shape.at) + b"["
        self._suffix = b"]" + b"}" * len(shape.at)

    def split(self, body: Body) -> Sequence[bytes]:
        """The records of a page, each in the bytes it was sent as. Raises InvalidPage."""
        if isinstance(body, SplitBody):
            return body.records
        scanned = scan_page(body) if self._shape.at == _DATA else None
        return split_page(body, self._shape.at) if scanned is None else scanned

    def split_with_ids(self, body: bytes) -> SplitBody:
        """The body with its records, and with their ids if these cost nothing. Raises InvalidPage."""
        records = self.split(body)
        return SplitBody(body, records, self.known_ids(records))

    def known_ids(self, records: Sequence[bytes]) -> Sequence[str] | None:
        """The ids of the records of a page, if they cost nothing."""
        return records.ids if self.is_json_api and isinstance(records, ScannedRecords) else None

    def join(self, records: Sequence[bytes]) -> bytes:
        """A page of records in the shape of the service; the inverse of `split`."""
        return self._prefix + b",".join(records) + self._suffix

    def normalized_records(self, body: Body) -> list[bytes]:
        """The records of a page, normalized. Raises InvalidPage."""
        return list(map(self.normalize, self.split(body)))

    def normalized_page(self, body: Body) -> Body:
        """A page of normalized records. Raises InvalidPage."""
        return body if self.is_json_api else b'{"data":[' + b",".join(self.normalized_records(body)) + b"]}"

    def normalize(self, record: bytes) -> bytes:
        """Rearrange a record as `id`, `type` and `attributes`.

        1. The members that the shape names, at the top or further down, become these three.
        2. A member that has one of these names, but another meaning, gets a slash before its name.
        3. If ids are described as integers, they become strings; an id that was a string already is kept as `/id`.
        4. Other members stay beside the attributes; or are the attributes, if the shape has them beside the id.
        """
        if self.is_json_api:
            return record
        shape = self._shape
        members = members_of(record)
        normalized: Members = []
        for name, path in self._nested:
            value, members = _take_out(members, path)
            if value is not None:
                normalized.extend(self._id_members(value) if name == schema.ID else [(name, value)])
        attributes: Members = []
        for name, value in members:
            if name == self._id:
                normalized.extend(self._id_members(value))
            elif name == self._type:
                normalized.append((schema.TYPE, value))
            elif name == self._attributes:
                normalized.append((schema.ATTRIBUTES, value))
            elif shape.attributes:
                normalized.append((RESERVED + name if name in _NORMALIZED_NAMES else name, value))
            else:
                attributes.append((name, self._typed_cell(name, value) if self._cell_types else value))
        # Placeholders for parts that the shape does not have; whoever reads the record leaves them out again.
        if not shape.id:
            normalized.append((schema.ID, b'""'))
        if shape.type is None:
            normalized.append((schema.TYPE, b'""'))
        if not shape.attributes:
            normalized.append((schema.ATTRIBUTES, _object(attributes)))
        return _object(normalized)

    def _id_members(self, value: bytes) -> Members:
        if not self._ids_are_integers:
            return [(schema.ID, value)]
        if _INTEGER.fullmatch(value) and int(value) in INT64:
            return [(schema.ID, b'"' + value + b'"')]
        kept = [(RESERVED + schema.ID, value)] if value.startswith(b'"') and not self._cell_types else []
        return [(schema.ID, value), *kept]

    def _typed_cell(self, name: str, value: bytes) -> bytes:
        """The cell of a table as a value of its described type, if its text is one."""
        kind = self._cell_types.get(name)
        if kind not in (Kind.BOOLEAN, Kind.INTEGER, Kind.NUMBER) or not value.startswith(b'"'):
            return value
        text = json.loads(value)
        if kind is Kind.BOOLEAN:
            fits = text in ("true", "false")
        elif kind is Kind.INTEGER:
            fits = bool(_INTEGER.fullmatch(value[1:-1])) and int(text) in INT64
        else:
            fits = bool(_JSON_NUMBER.fullmatch(text)) and parse_number(lossless_json.Number(text)) is not None
        return value[1:-1] if fits else value


def is_json_api(shape: RecordShape) -> bool:
    """Whether records of this shape need no normalizing, whatever identifies them."""
    return replace(shape, identity=()) == RecordShape()


def with_escaped_names(redaction: Redaction) -> Redaction:
    """The same rules, also for members that `normalize` puts a slash before."""
    escaped = {RESERVED + name: rule for name, rule in redaction.rules.items() if name in _NORMALIZED_NAMES}
    return replace(redaction, rules={**redaction.rules, **escaped})


def members_of(record: bytes) -> Members:
    """The members of an object in order, including repeated keys.

    msgspec is believed if keys and values add up to the length of the text; otherwise there is white space, an escape
    or a repeated key, and the object is scanned.
    """
    try:
        members = _MEMBERS.decode(record)
    except (msgspec.DecodeError, RecursionError):
        return scan_members(record)
    size = sum(len(name.encode()) + len(value) for name, value in members.items()) + _QUOTES_COLON_COMMA * len(members)
    if size + 1 != len(record):
        return scan_members(record)
    return [(name, bytes(value)) for name, value in members.items()]


def member_at(members: Members, path: Sequence[str]) -> bytes | None:
    """The value that a path leads to; None if it does not lead to exactly one value."""
    values = [value for name, value in members if name == path[0]]
    if len(values) != 1:
        return None
    if len(path) == 1:
        return values[0]
    return member_at(members_of(values[0]), path[1:]) if values[0].startswith(b"{") else None


def _single_name(path: Sequence[str] | None) -> str | None:
    return path[0] if path and len(path) == 1 else None


def _take_out(members: Members, path: Sequence[str]) -> tuple[bytes | None, Members]:
    """The value that a path leads to, and the members without it and without objects that it leaves empty."""
    value = member_at(members, path)
    if value is None:
        return None, members
    rest: Members = []
    for name, member in members:
        if name != path[0]:
            rest.append((name, member))
        elif len(path) > 1:
            _, inside = _take_out(members_of(member), path[1:])
            if inside:
                rest.append((name, _object(inside)))
    return value, rest


@functools.lru_cache(maxsize=4_096)
def _key(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=not lossless_json.is_encodable(name)).encode() + b":"


def _object(members: Members) -> bytes:
    return b"{" + b",".join([_key(name) + value for name, value in members]) + b"}"
