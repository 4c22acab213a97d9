"""What tells records apart: the text of their identity, or the record itself if nothing identifies it.

A record has no identity if a value of it is missing, null, an empty string, a list or an object. Nothing says then
whether another record is the same one, so it never counts as a repetition of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import msgspec

from bulk_export.core.model import Kind, RecordShape
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.record_shape import member_at, members_of
from bulk_export.transform.decode.scanned_page import HashedIds
from bulk_export.transform.decode.values import parse_timestamp

# Text identifies a record; bytes are a record that nothing identifies, as it was sent.
Key = str | bytes


class Keys(Sequence[Key]):
    """The keys of the records of some pages. `pages` has those of each page; they are put together when needed."""

    __slots__ = ("_all", "_count", "pages")

    def __init__(self, pages: Sequence[Sequence[Key]]) -> None:
        self.pages = pages
        self._count = sum(map(len, pages))
        self._all: list[Key] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Key: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Key]: ...
    def __getitem__(self, index: int | slice) -> Key | Sequence[Key]:
        return self._together()[index]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._together())

    def _together(self) -> list[Key]:
        if self._all is None:
            self._all = [key for page in self.pages for key in page]
        return self._all


def keys(identities: Sequence[str | None], records: Callable[[], Sequence[bytes]]) -> Sequence[Key]:
    """The identity of each record, or the record; `records` is called only if one of them is needed."""
    if isinstance(identities, HashedIds) or all(identities):
        return identities  # type: ignore[return-value]  # none of them is None
    return [identity or record for identity, record in zip(identities, records(), strict=True)]


class IdentityReader:
    """Reads the identities of records of a shape that names the values which identify them."""

    def __init__(self, shape: RecordShape) -> None:
        self._paths = shape.identity
        self._string_only = shape.id if shape.id_type is Kind.STRING else None

    def read(self, records: Sequence[bytes]) -> list[str | None]:
        """The identity of each record as it was sent: the JSON text of a list of values, or None."""
        return list(map(self._read, records))

    def _read(self, record: bytes) -> str | None:
        members = members_of(record)
        values = []
        for path in self._paths:
            value = _scalar(member_at(members, path))
            if value is None or (path == self._string_only and not value.startswith('"')):
                return None
            values.append(value)
        return f"[{','.join(values)}]"


def ids_of(records: Sequence[bytes]) -> list[str | None]:
    """The id of each normalized record; None, or empty, if it has none that is a string."""
    try:
        return [_WITH_ID.decode(record).id for record in records]
    except (msgspec.DecodeError, RecursionError):
        return [column_value_and_id(id_value(record))[1] for record in records]


def id_value(record: bytes) -> Any:
    """The value of the id of a normalized record; its JSON text in bytes if it is nested too deeply."""
    try:
        text = bytes(_WITH_ANY_ID.decode(record).id)
    except (msgspec.DecodeError, RecursionError):
        return lossless_json.loads(record).get(schema.ID)
    if lossless_json.nested_deeper_than(lossless_json.MAX_DEPTH, text):
        return text
    return lossless_json.loads(text)


def column_value_and_id(value: Any) -> tuple[str, str | None]:
    """Return the text for the column `id`, which is never null, and the id, None if the value is not a valid id."""
    if value is None:
        return "", None
    if isinstance(value, bytes):
        return value.decode(), None
    is_string = isinstance(value, str) and not isinstance(value, lossless_json.Number)
    text = value if is_string and lossless_json.is_encodable(value) else lossless_json.dumps(value)
    return text, text if is_string and value else None


def record_version(record: bytes) -> float | None:
    """The `updated_at` of a normalized record in microseconds since 1970; None if it has none."""
    if lossless_json.nested_deeper_than(lossless_json.MAX_DEPTH, record):
        return None
    attributes = lossless_json.loads(record).get(schema.ATTRIBUTES)
    return parse_timestamp(attributes.get("updated_at")) if isinstance(attributes, dict) else None


def identity_columns(shape: RecordShape) -> tuple[tuple[str, ...], ...] | None:
    """The columns of an export that hold the values which identify a record.

    Each is the name of a column, followed by the members that lead to the value within it. None if one of the values
    cannot have a column.
    """
    columns = [_column_path(shape, path) for path in shape.identity or (shape.id,)]
    known = tuple(column for column in columns if column is not None)
    return known if len(known) == len(columns) else None


def _column_path(shape: RecordShape, path: tuple[str, ...]) -> tuple[str, ...] | None:
    if path in (shape.id, shape.type):
        return (schema.ID,) if path == shape.id else (schema.TYPE,)
    parents, rest = path[: len(shape.attributes)], path[len(shape.attributes) :]
    return rest if parents == shape.attributes and rest else None


def _scalar(value: bytes | None) -> str | None:
    """The JSON text of a string, number or boolean, the same however a string was escaped; None for anything else."""
    if value is None or value in (b"null", b'""') or value[:1] in (b"{", b"["):
        return None
    return lossless_json.dumps(lossless_json.loads(value)) if value.startswith(b'"') else value.decode()


class _WithId(msgspec.Struct):
    id: str


class _WithAnyId(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")


_WITH_ID = msgspec.json.Decoder(_WithId)
_WITH_ANY_ID = msgspec.json.Decoder(_WithAnyId)
