"""Pages to record batches and NDJSON lines, without loss."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bulk_export.core.model import Endpoint
from bulk_export.transform import schema
from bulk_export.transform.decode.body import Body, SplitBody, text_of
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.identity import IdentityReader, Keys, ids_of, keys
from bulk_export.transform.decode.json_lines import LineBlock, compact
from bulk_export.transform.decode.record_shape import RecordShaper, with_escaped_names
from bulk_export.transform.decode.redactor import Redactor, redact_records
from bulk_export.transform.decode.scanned_page import ScannedRecords
from bulk_export.transform.redaction import NO_REDACTION, Redaction, RedactionAction

if TYPE_CHECKING:
    import pyarrow as pa

    from bulk_export.transform.decode.columns import ColumnDecoder, IdsByPage
    from bulk_export.transform.decode.flat_lines import FlatLines

Lines = Literal["raw", "flat"]


@dataclass(frozen=True, slots=True)
class Block:
    """The records of some pages, row by row: as a batch, as lines without line ends, or both.

    Attributes:
        ids: What tells the records apart: the identity of each, or the record itself if it has none.
        rows_per_page: How many records each page held.
        batch: The columns.
        lines: The lines.
        drift: How the records differ from the description.
    """

    ids: Keys
    rows_per_page: Sequence[int]
    batch: pa.RecordBatch | None
    lines: LineBlock | None
    drift: Drift

    def without(self, rows: Collection[int]) -> Block:
        """The block without some rows; `rows_per_page` and `drift` still count all of them."""
        import pyarrow as pa

        excluded = set(rows)
        kept = [row for row in range(len(self.ids)) if row not in excluded]
        return replace(
            self,
            ids=Keys([[self.ids[row] for row in kept]]),
            batch=None if self.batch is None else self.batch.take(pa.array(kept, pa.int64())),
            lines=None if self.lines is None else LineBlock.of([self.lines[row] for row in kept]),
        )


class Decoder:
    """Turns pages of one endpoint into blocks. Several threads may do so at once.

    Arrow is imported with the first page that needs it, which lines as they were sent do not.

    Args:
        endpoint: The description of the records.
        columns: Whether blocks have a batch.
        lines: Which lines blocks have: `raw` are the records as they were sent, without white space between tokens;
            `flat` are the columns of the batch as JSON objects; None for no lines.
        redaction: What is dropped or pseudonymised, in batches and lines.
        compiled: Whether columns are decoded by the compiled path as far as it takes them, if there is a kernel.

    Example:
        decoder = Decoder(endpoint, columns=True, lines=None)
        batch = decoder.decode([body]).batch
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        columns: bool,
        lines: Lines | None,
        redaction: Redaction = NO_REDACTION,
        compiled: bool = True,
    ) -> None:
        self._shaper = RecordShaper(endpoint)
        if redaction and not self._shaper.is_json_api:
            redaction = with_escaped_names(redaction)
        self._columns = columns
        self._lines = lines
        self._endpoint = endpoint
        self._redaction = redaction
        self._compiled = compiled
        self._without_column = schema.without_column(endpoint)
        self._redactor = Redactor(redaction, endpoint.shape) if redaction else None
        self._identity = IdentityReader(endpoint.shape) if endpoint.shape.identity else None
        # A pseudonym distinguishes records as the id does, but hides whether there is an id.
        self._hides_ids = redaction.rules.get(schema.ID) is RedactionAction.PSEUDONYMISE

    def decode(self, bodies: Sequence[Body]) -> Block:
        """Decode pages, in order.

        Raises:
            InvalidPage: A body is not a page of records.
        """
        drift = Drift()
        batch: pa.RecordBatch | None = None
        lines: LineBlock | None = None
        ids: IdsByPage | None = None
        # 1. Columns, whose decoder reads the ids as well.
        if self._columns or self._lines == "flat":
            batch, ids = self._column_decoder.decode(list(map(self._shaper.normalized_page, bodies)), drift)
            if self._lines == "flat":
                lines = LineBlock([self._flat_lines.text(batch)], batch.num_rows)
        # 2. Lines and identities that have to be taken from the records.
        needs_identities = ids is None or self._identity is not None or self._hides_ids
        if self._lines == "raw" or needs_identities:
            records = list(map(self._shaper.split, bodies))
            if self._lines == "raw":
                lines = self._raw_lines(bodies, records)
            if needs_identities:
                ids = list(map(self._identities, bodies, records))
        # 3. Keys: a record without an identity stands for itself.
        page_keys = [
            keys(page_ids, functools.partial(self._shaper.split, body))
            for page_ids, body in zip(ids or (), bodies, strict=True)
        ]
        # 4. Drift: what is described, but cannot have a column, is no drift.
        for path in self._without_column & drift.unknown.keys():
            del drift.unknown[path]
        return Block(
            ids=Keys(page_keys),
            rows_per_page=[len(page) for page in page_keys],
            batch=batch if self._columns else None,
            lines=lines,
            drift=drift,
        )

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The columns of batches."""
        return schema.arrow_schema(self._redaction.redacted(self._endpoint))

    @property
    def column_types(self) -> list[dict[str, str]]:
        """Names and types of the columns, as a manifest lists them."""
        return schema.column_types(self._redaction.redacted(self._endpoint))

    @functools.cached_property
    def _column_decoder(self) -> ColumnDecoder:
        from bulk_export.transform.decode.columns import ColumnDecoder

        return ColumnDecoder(self._endpoint, self._redaction, compiled=self._compiled)

    @functools.cached_property
    def _flat_lines(self) -> FlatLines:
        from bulk_export.transform.decode.flat_lines import FlatLines

        return FlatLines(self.schema)

    def _raw_lines(self, bodies: Sequence[Body], pages: Sequence[Sequence[bytes]]) -> LineBlock:
        pieces: list[bytes] = []
        for body, records in zip(bodies, pages, strict=True):
            if (text := self._text_at_once(records)) is not None:
                pieces.append(text)
            else:
                pieces += LineBlock.of(redact_records(compact(text_of(body), records), self._redactor)).pieces
        return LineBlock(pieces, sum(map(len, pages)))

    def _text_at_once(self, records: Sequence[bytes]) -> bytes | None:
        """The lines of a page, if the kernel writes them."""
        if not isinstance(records, ScannedRecords) or not records.is_compact:
            return None
        return records.lines() if self._redactor is None else self._redactor.lines(records)

    def _identities(self, body: Body, records: Sequence[bytes]) -> Sequence[str | None]:
        if self._identity is not None:
            return self._identity.read(records)
        known = body.ids if isinstance(body, SplitBody) else self._shaper.known_ids(records)
        ids = ids_of(list(map(self._shaper.normalize, records))) if known is None else known
        return ids if self._redactor is None or not self._hides_ids else self._redactor.pseudonyms(ids)
