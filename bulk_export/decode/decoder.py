"""Pages to record batches and lines, nothing lost on the way."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import orjson
import pyarrow as pa

from bulk_export import schema
from bulk_export.decode import exact
from bulk_export.decode.drift import Drift
from bulk_export.decode.envelope import split_page
from bulk_export.decode.typed import NotAsDescribed, TypedDecoder
from bulk_export.decode.values import NOTHING, OVERRIDDEN, RECORD, fit, fit_members, instant, overlay_name
from bulk_export.model import Endpoint, Kind, Struct

Lines = Literal["raw", "flat"]


@dataclass(frozen=True, slots=True)
class Block:
    """Records of some pages, row by row: as a batch, as lines (without line ends), or both.

    `ids` are what tells records apart.
    """

    ids: Sequence[str]
    rows_per_page: Sequence[int]
    batch: pa.RecordBatch | None
    lines: Sequence[bytes] | None
    drift: Drift

    def without(self, rows: Collection[int]) -> Block:
        """The same, with some rows left out; `rows_per_page` and the drift still speak of all of them."""
        left_out = set(rows)
        kept = [row for row in range(len(self.ids)) if row not in left_out]
        return replace(
            self,
            ids=[self.ids[row] for row in kept],
            batch=None if self.batch is None else self.batch.take(pa.array(kept, pa.int64())),
            lines=None if self.lines is None else [self.lines[row] for row in kept],
        )


class Decoder:
    """Turns pages of one endpoint into blocks: with a batch where `columns`, with `lines` in one of two forms.

    `raw` lines are the records as they were sent, without the white space between tokens; `flat` ones hold
    the columns of the batch.
    """

    def __init__(self, endpoint: Endpoint, *, columns: bool, lines: Lines | None) -> None:
        self.schema = schema.arrow_schema(endpoint)
        self._wants_batch = columns or lines == "flat"
        self._columns = columns
        self._lines = lines
        self._attributes = Struct(schema.columns(endpoint))
        try:
            self._typed: TypedDecoder | None = TypedDecoder(endpoint)
        except NotAsDescribed:
            self._typed = None

    def decode(self, bodies: Sequence[bytes]) -> Block:
        """The records of some pages, in order. Raises UnusablePage for a body that is none."""
        drift = Drift()
        batch: pa.RecordBatch | None = None
        lines: Sequence[bytes] | None = None
        if self._wants_batch:
            batch, ids = self._batch(bodies, drift)
        if self._lines == "flat" and batch is not None:
            lines = [orjson.dumps(row, option=orjson.OPT_UTC_Z) for row in batch.to_pylist()]
        elif self._lines == "raw" or batch is None:
            pages = [split_page(body) for body in bodies]
            lines = [line for body, page in zip(bodies, pages, strict=True) for line in compact(body, page)]
            if batch is None:
                ids = [_ids(page) for page in pages]
        return Block(
            ids=[identity for page_ids in ids for identity in page_ids],
            rows_per_page=[len(page_ids) for page_ids in ids],
            batch=batch if self._columns else None,
            lines=lines if self._lines is not None else None,
            drift=drift,
        )

    def _batch(self, bodies: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, list[list[str]]]:
        """One batch for all pages where all are as described, else one a page, put together; and ids by page."""
        if self._typed is not None:
            try:
                pages = [self._typed.decode(body) for body in bodies]
                columns = self._typed.columns([record for page in pages for record in page])
                return self._from_columns(columns), [[record.id for record in page] for page in pages]
            except NotAsDescribed:
                pass
        batches = []
        ids = []
        for body in bodies:
            batch, page_ids = self._page_batch(body, drift)
            batches.append(batch)
            ids.append(page_ids)
        return pa.concat_batches(batches) if batches else self.schema.empty_table().to_batches()[0], ids

    def _page_batch(self, body: bytes, drift: Drift) -> tuple[pa.RecordBatch, list[str]]:
        if self._typed is not None:
            try:
                structs = self._typed.decode(body)
                return self._from_columns(self._typed.columns(structs)), [record.id for record in structs]
            except NotAsDescribed:
                pass
        rows = [self._row(record, drift) for record in split_page(body)]
        columns = [pa.array([row[field.name] for row in rows], field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema), [row[schema.ID] for row in rows]

    def _from_columns(self, columns: list[pa.Array]) -> pa.RecordBatch:
        nothing_extra = pa.nulls(len(columns[0]), pa.string())
        return pa.RecordBatch.from_arrays([*columns, nothing_extra], schema=self.schema)

    def _row(self, text: bytes, drift: Drift) -> dict[str, Any]:
        """One record as column values, the exact way."""
        record = exact.loads(text)
        overlay: dict[str, Any] = {}
        around = {overlay_name(name): member for name, member in record.items() if name not in _ENVELOPE}
        drift.unknown.update(f"{RECORD}.{name}" for name in around)
        if isinstance(record, exact.RepeatedKeys):
            around[OVERRIDDEN] = record.overridden()
            drift.duplicate_keys.update(f"{RECORD}.{name}" for name in around[OVERRIDDEN])
        row: dict[str, Any] = {schema.ID: identity(record)}
        identified, left = fit(Kind.STRING, record.get(schema.ID), f"{RECORD}.id", drift)
        if identified is None:
            around[schema.ID] = None if left is NOTHING else left
        row[schema.TYPE], left = fit(Kind.STRING, record.get(schema.TYPE), f"{RECORD}.type", drift)
        if left is not NOTHING:
            around[schema.TYPE] = left
        attributes = record.get("attributes", {})
        if isinstance(attributes, dict):
            taken, left = fit_members(self._attributes.fields, attributes, "", drift)
            row.update(taken)
            if left is not NOTHING:
                overlay.update(left)
        else:
            row.update({field.name: None for field in self._attributes.fields})
            around["attributes"] = attributes
            drift.misfits[f"{RECORD}.attributes"] += 1
        if around:
            overlay[RECORD] = around
        row[schema.EXTRA] = exact.dumps(overlay) if overlay else None
        return row


_ENVELOPE = frozenset({schema.ID, schema.TYPE, "attributes"})


def version(record: bytes) -> float | None:
    """How new a record says it is: its `updated_at` in microseconds, None where it does not say."""
    attributes = exact.loads(record).get("attributes")
    return instant(attributes.get("updated_at")) if isinstance(attributes, dict) else None


def identity(record: dict[str, Any]) -> str:
    """What tells a record apart: its id, or the JSON text of an id that is no string; empty where there is none."""
    value = record.get(schema.ID)
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, exact.Number) and exact.is_utf8(value):
        return value
    return exact.dumps(value)


def compact(body: bytes, page: Sequence[bytes]) -> Sequence[bytes]:
    """The records of a page without white space between tokens, every token as it was sent."""
    try:
        if len(msgspec.json.format(body, indent=-1)) == len(body):
            return page
        return [msgspec.json.format(record, indent=-1) for record in page]
    except (msgspec.DecodeError, RecursionError):
        return [_BETWEEN_TOKENS.sub(rb"\1", record) for record in page]


# A string, which is kept, or white space outside of one, which is not.
_BETWEEN_TOKENS = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


class _Identified(msgspec.Struct):
    id: str


_IDENTIFIED = msgspec.json.Decoder(_Identified)


def _ids(records: Sequence[bytes]) -> list[str]:
    ids = []
    for record in records:
        try:
            ids.append(_IDENTIFIED.decode(record).id)
        except (msgspec.DecodeError, RecursionError):
            ids.append(identity(exact.loads(record)))
    return ids
