"""The exact way from records to columns: one at a time, for what the fast way does not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from bulk_export.core.model import Field, Kind
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json as exact
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.values import (
    NOTHING,
    OVERRIDDEN,
    RECORD,
    WHOLE,
    fit,
    fit_members,
    instant,
    overlay_name,
)

# Python follows about a thousand levels, those of its own calls included.
DEEPEST = 800
_ENVELOPE = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})


class ExactDecoder:
    """Turns records into columns of a schema; `fields` are the attributes that have a column."""

    def __init__(self, arrow_schema: pa.Schema, fields: Sequence[Field]) -> None:
        self._schema = arrow_schema
        self._fields = fields

    def batch(self, records: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, list[str | None]]:
        """The records as a batch, and their ids, None where one is no string.

        What they hold beyond the schema is counted in `drift`.
        """
        rows = [self._row(record, drift) for record in records]
        columns = [pa.array([row[field.name] for row, _ in rows], field.type) for field in self._schema]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema), [identity for _, identity in rows]

    def _row(self, text: bytes, drift: Drift) -> tuple[dict[str, Any], str | None]:
        if exact.nested_deeper_than(DEEPEST, text):
            return self._stored_whole(text, drift)
        record = exact.loads(text)
        shown, identity = _shown_and_identity(record.get(schema.ID))
        row: dict[str, Any] = {schema.ID: shown}
        around: dict[str, Any] = {}
        for name in sorted(record.keys() - _ENVELOPE):
            drift.unknown[f"{RECORD}.{name}"] += 1
            around[overlay_name(name)] = record[name]
        if isinstance(record, exact.RepeatedKeys):
            around[OVERRIDDEN] = earlier = record.overridden()
            drift.duplicate_keys.update(f"{RECORD}.{name}" for name in earlier)
        identified, left = fit(Kind.STRING, record.get(schema.ID), f"{RECORD}.id", drift)
        if identified is None:
            around[schema.ID] = None if left is NOTHING else left
        row[schema.TYPE], left = fit(Kind.STRING, record.get(schema.TYPE), f"{RECORD}.type", drift)
        if left is not NOTHING:
            around[schema.TYPE] = left
        attributes = record.get(schema.ATTRIBUTES, {})
        overlay: dict[str, Any] = {}
        if isinstance(attributes, dict):
            taken, left = fit_members(self._fields, attributes, "", drift)
            row.update(taken)
            if left is not NOTHING:
                overlay.update(left)
        else:
            row.update((field.name, None) for field in self._fields)
            around[schema.ATTRIBUTES] = attributes
            drift.misfits[f"{RECORD}.attributes"] += 1
        if around:
            overlay[RECORD] = around
        row[schema.EXTRA] = exact.dumps(overlay) if overlay else None
        return row, identity

    def _stored_whole(self, text: bytes, drift: Drift) -> tuple[dict[str, Any], str | None]:
        """A record nested too deeply to be taken apart stands in `_extra` as it is."""
        drift.misfits[RECORD] += 1
        row: dict[str, Any] = dict.fromkeys(self._schema.names)
        row[schema.ID], identity = _shown_and_identity(_id_of(text))
        row[schema.EXTRA] = f'{{"{WHOLE}":{text.decode()}}}'
        return row, identity


def identities(records: Sequence[bytes]) -> list[str | None]:
    """The id of each arranged record, None where there is none or it is no string."""
    try:
        return [_WITH_ID.decode(record).id for record in records]
    except (msgspec.DecodeError, RecursionError):
        return [_shown_and_identity(_id_of(record))[1] for record in records]


class _WithId(msgspec.Struct):
    id: str


class _WithAnyId(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b"null")


_WITH_ID = msgspec.json.Decoder(_WithId)
_WITH_ANY_ID = msgspec.json.Decoder(_WithAnyId)


def _id_of(record: bytes) -> Any:
    """The value of the id; as JSON text, in bytes, where that is nested too deeply."""
    try:
        found = bytes(_WITH_ANY_ID.decode(record).id)
    except (msgspec.DecodeError, RecursionError):
        return exact.loads(record).get(schema.ID)
    return found if exact.nested_deeper_than(DEEPEST, found) else exact.loads(found)


def version(record: bytes) -> float | None:
    """How new a record says it is: its `updated_at` in microseconds, None where it does not say."""
    if exact.nested_deeper_than(DEEPEST, record):
        return None
    attributes = exact.loads(record).get(schema.ATTRIBUTES)
    return instant(attributes.get("updated_at")) if isinstance(attributes, dict) else None


def _shown_and_identity(value: Any) -> tuple[str, str | None]:
    """An id as its column holds it, which is never null, and as it identifies a record, None where it does not."""
    if value is None:
        return "", None
    if isinstance(value, bytes):
        return value.decode(), None
    is_string = isinstance(value, str) and not isinstance(value, exact.Number)
    text = value if is_string and exact.is_utf8(value) else exact.dumps(value)
    return text, text if is_string and value else None
