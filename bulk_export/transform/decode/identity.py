"""What tells records apart: the text of their identity, or the record itself where nothing identifies it.

A record that lacks a value of its identity, or holds null, an empty string, a list or an object there, has none:
nothing says whether another record is the same one, so it is never taken for one that was met before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bulk_export.core.model import Kind, RecordShape
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json as exact
from bulk_export.transform.decode.record_shape import member_at, members_of

# Text identifies a record; bytes are one that nothing identifies, as it was sent.
Key = str | bytes


def keys(identities: Sequence[str | None], records: Callable[[], Sequence[bytes]]) -> Sequence[Key]:
    """The identity of each record, or the record; `records` gives them, and is called only where one is needed."""
    if all(identities):
        return identities  # type: ignore[return-value]  # none of them is None
    return [identity or record for identity, record in zip(identities, records(), strict=True)]


class Identity:
    """Reads the identity of records of a shape that names the values it is made of."""

    def __init__(self, shape: RecordShape) -> None:
        self._paths = shape.identity
        self._text_only = shape.id if shape.id_type is Kind.STRING else None

    def of(self, records: Sequence[bytes]) -> list[str | None]:
        """The identity of each record as it was sent: the JSON text of a list, None where there is none."""
        return list(map(self._of, records))

    def _of(self, record: bytes) -> str | None:
        members = members_of(record)
        values = []
        for path in self._paths:
            value = _scalar(member_at(members, path))
            if value is None or (path == self._text_only and not value.startswith('"')):
                return None
            values.append(value)
        return f"[{','.join(values)}]"


def identity_columns(shape: RecordShape) -> tuple[tuple[str, ...], ...] | None:
    """Where the columns of an export hold the values that identify a record, if it has such columns.

    Each is the name of a column, followed by the members that lead to the value within it. None where a value can have
    no column of its own.
    """
    places = [_place(shape, path) for path in shape.identity or (shape.id,)]
    found = tuple(place for place in places if place is not None)
    return found if len(found) == len(places) else None


def _place(shape: RecordShape, path: tuple[str, ...]) -> tuple[str, ...] | None:
    if path in (shape.id, shape.type):
        return (schema.ID,) if path == shape.id else (schema.TYPE,)
    above, place = path[: len(shape.attributes)], path[len(shape.attributes) :]
    return place if above == shape.attributes and place else None


def _scalar(value: bytes | None) -> str | None:
    """The JSON text of a string, number or boolean, the same however a string was escaped; None for anything else."""
    if value is None or value in (b"null", b'""') or value[:1] in (b"{", b"["):
        return None
    return exact.dumps(exact.loads(value)) if value.startswith(b'"') else value.decode()
