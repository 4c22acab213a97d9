"""Pages to one record batch: by the fast path if it can prove its result, else page by page, by whichever path can."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode.body import Body, SplitBody, split_page, text_of
from bulk_export.transform.decode.column_builders import NotAsDescribed
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.exact_path import ExactDecoder
from bulk_export.transform.decode.fast_path import FastDecoder
from bulk_export.transform.decode.json_lines import compact
from bulk_export.transform.decode.redactor import Redactor, redact_records
from bulk_export.transform.redaction import Redaction

IdsByPage = Sequence[Sequence[str | None]]


class ColumnDecoder:
    """Decodes pages of normalized records of one endpoint into columns."""

    def __init__(self, endpoint: Endpoint, redaction: Redaction) -> None:
        redacted = redaction.redacted(endpoint)
        self.schema = schema.arrow_schema(redacted)
        self._fast = FastDecoder(endpoint, redaction)
        self._exact = ExactDecoder(self.schema, schema.columns(redacted))
        self._redactor = Redactor(redaction) if redaction else None
        # Normalizing puts a placeholder where a shape has no id or type.
        parts = ((0, bool(endpoint.shape.id)), (1, endpoint.shape.type is not None))
        self._placeholders = [index for index, is_sent in parts if not is_sent]

    def decode(self, pages: Sequence[Body], drift: Drift) -> tuple[pa.RecordBatch, IdsByPage]:
        """Decode pages into one batch, and count in `drift` what differs from the description.

        Returns:
            The batch, and the ids of the records of each page; None for an id that is no string.

        Raises:
            InvalidPage: A body is not a page of records.
        """
        ids: IdsByPage
        try:
            batch, ids = self._fast.decode(list(map(text_of, pages)), drift)
        except NotAsDescribed:
            # One page is to blame, so only that one has to take the exact path.
            decoded = [self._decode_page(page, drift) for page in pages]
            ids = [page_ids for _, page_ids in decoded]
            batches = [page_batch for page_batch, _ in decoded]
            batch = pa.concat_batches(batches) if batches else pa.RecordBatch.from_pylist([], self.schema)
        for index in self._placeholders:
            batch = batch.set_column(index, self.schema.field(index), pa.nulls(batch.num_rows, pa.string()))
        return batch, ids

    def _decode_page(self, page: Body, drift: Drift) -> tuple[pa.RecordBatch, Sequence[str | None]]:
        ids: Sequence[str | None]
        try:
            batch, (ids,) = self._fast.decode([text_of(page)], drift)
        except NotAsDescribed:
            counted = Drift()
            records = page.records if isinstance(page, SplitBody) else split_page(page)
            batch, ids = self._exact.decode(redact_records(compact(text_of(page), records), self._redactor), counted)
            self._fast.learn(counted)
            drift.add(counted)
        return batch, ids
