"""Pages to record batches and lines, nothing lost on the way."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode.body import Body, InvalidPage, SplitBody, split_page, text_of
from bulk_export.transform.decode.column_builders import NotAsDescribed
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.exact_path import ExactDecoder, identities
from bulk_export.transform.decode.fast_path import FastDecoder
from bulk_export.transform.decode.identity import Identity, Key, keys
from bulk_export.transform.decode.json_lines import compact, flat
from bulk_export.transform.decode.record_shape import RecordShaper, is_usual, with_moved
from bulk_export.transform.decode.redactor import Redactor
from bulk_export.transform.redaction import NO_REDACTION, Redaction, RedactionAction

Lines = Literal["raw", "flat"]


@dataclass(frozen=True, slots=True)
class Block:
    """Records of some pages, row by row: as a batch, as lines (without line ends), or both.

    `ids` are what tells records apart: the identity of each, or the record itself where it has none.
    """

    ids: Sequence[Key]
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

    `raw` lines are the records as they were sent, without the white space between tokens and without what
    `redaction` takes; `flat` ones hold the columns of the batch.
    """

    def __init__(
        self, endpoint: Endpoint, *, columns: bool, lines: Lines | None, redaction: Redaction = NO_REDACTION
    ) -> None:
        if redaction and not is_usual(endpoint.shape):
            redaction = with_moved(redaction)
        left = redaction.endpoint(endpoint)
        self.schema = schema.arrow_schema(left)
        self._wants_batch = columns or lines == "flat"
        self._columns = columns
        self._lines = lines
        self._plain = ExactDecoder(self.schema, schema.columns(left))
        self._typed = FastDecoder(endpoint, redaction)
        self._arrangement = RecordShaper(endpoint)
        self._has_types = endpoint.shape.type is not None
        self._has_ids = bool(endpoint.shape.id)
        self._without_column = schema.without_column(endpoint)
        self._as_sent = Redactor(redaction, endpoint.shape) if redaction else None
        self._redactor = Redactor(redaction) if redaction else None
        self._identity = Identity(endpoint.shape) if endpoint.shape.identity else None
        # A pseudonym tells records apart as the id does, but hides whether there is one.
        self._pseudonym = (
            redaction.pseudonym if redaction.rules.get(schema.ID) is RedactionAction.PSEUDONYMISE else None
        )

    def decode(self, bodies: Sequence[Body]) -> Block:
        """The records of some pages, in order. Raises UnusablePage for a body that is none."""
        drift = Drift()
        sent = bodies
        if not self._arrangement.is_usual:
            bodies = [self._arrangement.page(text_of(body)) for body in sent]
        batch: pa.RecordBatch | None = None
        lines: Sequence[bytes] | None = None
        found: Sequence[Sequence[str | None]] | None = None
        if self._wants_batch:
            batch, found = self._batch(bodies, drift)
        if self._lines == "flat" and batch is not None:
            lines = flat(batch)
        elif self._lines == "raw" or batch is None:
            pages = list(map(self._lines_of, sent))
            lines = [line for page in pages for line in page]
            if batch is None and self._reads_ids:
                found = [self._ids(*page) for page in zip(bodies, pages, strict=True)]
        if found is None or not self._reads_ids:
            found = list(map(self._identities, sent))
        ids = [
            keys(page, functools.partial(self._arrangement.split, body)) for page, body in zip(found, sent, strict=True)
        ]
        for path in self._without_column & drift.unknown.keys():
            del drift.unknown[path]
        return Block(
            ids=[identity for page_ids in ids for identity in page_ids],
            rows_per_page=[len(page_ids) for page_ids in ids],
            batch=batch if self._columns else None,
            lines=lines if self._lines is not None else None,
            drift=drift,
        )

    @property
    def _reads_ids(self) -> bool:
        """Whether the ids of what is exported identify the records."""
        return self._identity is None and self._pseudonym is None

    def _batch(self, bodies: Sequence[Body], drift: Drift) -> tuple[pa.RecordBatch, Sequence[Sequence[str | None]]]:
        """One batch for all pages at once where the fast way takes them, else one a page, put together; and ids."""
        ids: Sequence[Sequence[str | None]]
        try:
            batch, ids = self._fast(list(map(text_of, bodies)), drift)
        except NotAsDescribed:
            pages = [self._page_batch(body, drift) for body in bodies]
            ids = [page_ids for _, page_ids in pages]
            batches = [page for page, _ in pages]
            batch = pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], self.schema)
        for place, is_sent in enumerate((self._has_ids, self._has_types)):
            if not is_sent:
                batch = batch.set_column(place, self.schema.field(place), pa.nulls(batch.num_rows, pa.string()))
        return batch, ids

    def _page_batch(self, body: Body, drift: Drift) -> tuple[pa.RecordBatch, Sequence[str | None]]:
        try:
            batch, (ids,) = self._fast([text_of(body)], drift)
        except NotAsDescribed:
            met = Drift()
            batch, ids = self._plain.batch(self._records(body), met)
            self._typed.learn(met)
            drift.add(met)
        return batch, ids

    def _fast(self, bodies: Sequence[bytes], drift: Drift) -> tuple[pa.RecordBatch, Sequence[Sequence[str | None]]]:
        block = self._typed.decode(bodies, drift)
        rows = sum(map(len, block.ids))
        if block.extra:
            extra = pa.array([block.extra.get(row) for row in range(rows)], pa.string())
        else:
            extra = pa.nulls(rows, pa.string())
        return pa.RecordBatch.from_arrays([*block.columns, extra], schema=self.schema), block.ids

    def _records(self, body: Body) -> Sequence[bytes]:
        """The arranged records of a page, with what the redaction leaves of them."""
        records = body.records if isinstance(body, SplitBody) else split_page(body)
        if not self._wants_batch and self._redactor is None:
            return records
        return _redacted(compact(text_of(body), records), self._redactor)

    def _ids(self, body: Body, lines: Sequence[bytes]) -> Sequence[str | None]:
        if isinstance(body, SplitBody) and body.ids is not None:
            return body.ids
        return identities(lines if self._arrangement.is_usual else self._records(body))

    def _identities(self, sent: Body) -> Sequence[str | None]:
        """The identities of the records of a page, read from what was sent."""
        if self._identity is not None:
            return self._identity.of(self._arrangement.split(sent))
        found = identities(self._arrangement.records(sent))
        if self._pseudonym is None:
            return found
        return [identity and self._pseudonym(identity.encode("utf-8", "surrogatepass")) for identity in found]

    def _lines_of(self, body: Body) -> Sequence[bytes]:
        """The records of a page as they were sent, compact, with what the redaction leaves of them."""
        records = body.records if isinstance(body, SplitBody) else self._arrangement.split(body)
        shown = self._lines is not None or self._as_sent is not None
        return _redacted(compact(text_of(body), records) if shown else records, self._as_sent)


def _redacted(records: Sequence[bytes], redactor: Redactor | None) -> Sequence[bytes]:
    if redactor is None:
        return records
    try:
        return list(map(redactor.record, records))
    except RecursionError:
        raise InvalidPage("nested too deeply to be redacted") from None
