"""Pages to one record batch: by the compiled path as far as it takes them, by the exact path for the others."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode.body import Body, SplitBody, split_page, text_of
from bulk_export.transform.decode.compiled_path import compiled_decoder
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.exact_path import ExactDecoder
from bulk_export.transform.decode.json_lines import compact
from bulk_export.transform.decode.redactor import Redactor, redact_records
from bulk_export.transform.redaction import Redaction

IdsByPage = Sequence[Sequence[str | None]]


class ColumnDecoder:
    """Decodes pages of normalized records of one endpoint into columns."""

    def __init__(self, endpoint: Endpoint, redaction: Redaction, *, compiled: bool = True) -> None:
        redacted = redaction.redacted(endpoint)
        self.schema = schema.arrow_schema(redacted)
        self._compiled = compiled_decoder(endpoint, redaction, self.schema) if compiled else None
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
        batches: list[pa.RecordBatch] = []
        ids: list[Sequence[str | None]] = []
        while len(ids) < len(pages):
            # 1. The compiled path takes pages up to the first that it declines.
            if self._compiled is not None:
                block = self._compiled.decode([text_of(page) for page in pages[len(ids) :]], drift)
                if block.rows_per_page:
                    batches.append(block.batch)
                    ids.extend(block.ids_by_page())
            # 2. That page takes the exact path, and only that one.
            if len(ids) < len(pages):
                batch, page_ids = self._decode_exactly(pages[len(ids)], drift)
                batches.append(batch)
                ids.append(page_ids)
        batch = self._joined(batches)
        for index in self._placeholders:
            batch = batch.set_column(index, self.schema.field(index), pa.nulls(batch.num_rows, pa.string()))
        return batch, ids

    def _joined(self, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        # Putting a single batch together would copy it.
        match batches:
            case []:
                return pa.RecordBatch.from_pylist([], self.schema)
            case [batch]:
                return batch
            case _:
                return pa.concat_batches(batches)

    def _decode_exactly(self, page: Body, drift: Drift) -> tuple[pa.RecordBatch, Sequence[str | None]]:
        records = page.records if isinstance(page, SplitBody) else split_page(page)
        return self._exact.decode(redact_records(compact(text_of(page), records), self._redactor), drift)
