"""The exact path from records to columns: one record at a time, for whatever the kernel declines.

About ten times as slow, with the parser of the standard library, which keeps every digit and every repeated key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from bulk_export.core.model import Field, Kind
from bulk_export.transform import schema
from bulk_export.transform.decode import lossless_json
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.identity import column_value_and_id, id_value
from bulk_export.transform.decode.values import NOTHING, OVERRIDDEN, RECORD, UNSPLIT, fit, fit_members, overlay_name

_NORMALIZED_NAMES = frozenset({schema.ID, schema.TYPE, schema.ATTRIBUTES})


class ExactDecoder:
    """Turns normalized records into columns of a schema; `fields` are the attributes that have a column."""

    def __init__(self, arrow_schema: pa.Schema, fields: Sequence[Field]) -> None:
        self._schema = arrow_schema
        self._fields = fields

    def decode(self, records: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, list[str | None]]:
        """Decode records into a batch, and count in `drift` what they hold beyond the schema.

        Returns:
            The batch, and the id of each record; None if it is no string.
        """
        rows = [self._row(record, drift) for record in records]
        columns = [pa.array([row[field.name] for row, _ in rows], field.type) for field in self._schema]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema), [id_ for _, id_ in rows]

    def _row(self, text: bytes, drift: Drift) -> tuple[dict[str, Any], str | None]:
        """The columns of a record, and its id. What no column takes goes to `_extra`, in this order:

        1. attributes, by name: values that do not fit, members of objects, and those without a column;
        2. under `/record`, whatever is not as expected beside the attributes.
        """
        if lossless_json.nested_deeper_than(lossless_json.MAX_DEPTH, text):
            return self._unsplit_row(text, drift)
        record = lossless_json.loads(text)
        row: dict[str, Any] = {}
        row[schema.ID], id_ = column_value_and_id(record.get(schema.ID))
        beside: dict[str, Any] = {}
        for name in sorted(record.keys() - _NORMALIZED_NAMES):
            drift.unknown[f"{RECORD}.{name}"] += 1
            beside[overlay_name(name)] = record[name]
        if isinstance(record, lossless_json.RepeatedKeys):
            beside[OVERRIDDEN] = earlier = record.overridden()
            drift.duplicate_keys.update(f"{RECORD}.{name}" for name in earlier)
        fitted, overlay = fit(Kind.STRING, record.get(schema.ID), f"{RECORD}.id", drift)
        if fitted is None:
            beside[schema.ID] = None if overlay is NOTHING else overlay
        row[schema.TYPE], overlay = fit(Kind.STRING, record.get(schema.TYPE), f"{RECORD}.type", drift)
        if overlay is not NOTHING:
            beside[schema.TYPE] = overlay
        attributes = record.get(schema.ATTRIBUTES, {})
        extra: dict[str, Any] = {}
        if isinstance(attributes, dict):
            taken, overlay = fit_members(self._fields, attributes, "", drift)
            row.update(taken)
            if overlay is not NOTHING:
                extra.update(overlay)
        else:
            row.update((field.name, None) for field in self._fields)
            beside[schema.ATTRIBUTES] = attributes
            drift.misfits[f"{RECORD}.attributes"] += 1
        if beside:
            extra[RECORD] = beside
        row[schema.EXTRA] = lossless_json.dumps(extra) if extra else None
        return row, id_

    def _unsplit_row(self, text: bytes, drift: Drift) -> tuple[dict[str, Any], str | None]:
        """A record that is nested too deeply to be taken apart is kept in `_extra` as it is."""
        drift.misfits[RECORD] += 1
        row: dict[str, Any] = dict.fromkeys(self._schema.names)
        row[schema.ID], id_ = column_value_and_id(id_value(text))
        row[schema.EXTRA] = f'{{"{UNSPLIT}":{text.decode()}}}'
        return row, id_
