"""Pages to checked blocks of rows: the step between the journal and the part files.

A block is only what may be written: its counts agree with the journal, excluded rows are gone, and with
`--schema strict` nothing in it differs from the description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulk_export.core.model import Endpoint, PageKey
from bulk_export.core.text import counted
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import Part
from bulk_export.transform.decode import Block, Body, Decoder, Drift, refuse_drift

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class PageBody:
    """A page to be converted. `ordinal` is its position in the sequence of all pages to convert, from 1.

    `body` is None if it is not in memory.
    """

    key: PageKey
    ordinal: int
    records: int
    body: Body | None


class PageBlocks:
    """Decode pages of one endpoint into blocks. Several threads may do so at once.

    Args:
        endpoint: Its description, with the fields that were inferred if there are any.
        decoder: Decodes the pages; it also determines the columns.
        read: Returns the body of a page that is not in memory.
        excluded: Rows that are not written, by page; they are counted from 0 within their page.
        is_strict: Whether records that differ from the description are refused. Without described fields, none are.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        decoder: Decoder,
        read: Callable[[PageKey], Body],
        *,
        excluded: Mapping[PageKey, frozenset[int]],
        is_strict: bool,
    ) -> None:
        self.decoder = decoder
        self._endpoint = endpoint
        self._read = read
        self._excluded = excluded
        self._is_strict = is_strict and bool(endpoint.fields)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the blocks."""
        return self.decoder.schema

    @property
    def column_types(self) -> list[dict[str, str]]:
        """Names and types of the columns, as a manifest lists them."""
        return self.decoder.column_types

    def block(self, pages: Sequence[PageBody]) -> Block:
        """Decode pages into one block.

        Raises:
            DamagedState: A page does not hold the number of records that the journal says, or an excluded row, or it
                cannot be read.
            SchemaDrift: The mode is strict, and a record differs from the description.
        """
        bodies = [self._read(page.key) if page.body is None else page.body for page in pages]
        block = self.decoder.decode(bodies)
        _check_counts(block, pages)
        if self._is_strict:
            self._refuse_drift(block.drift, pages, bodies)
        return self._without_excluded(block, pages)

    def check_finished(self, parts: Sequence[Part]) -> None:
        """Refuse drift in parts that an earlier run may have written in another mode. Raises SchemaDrift."""
        if self._is_strict:
            for part in parts:
                refuse_drift(self._endpoint, Drift.from_json(part.drift), f"up to page {part.last_page}")

    def _refuse_drift(self, drift: Drift, pages: Sequence[PageBody], bodies: Sequence[Body]) -> None:
        """Raise SchemaDrift for the first page that has any."""
        if drift.unknown or drift.misfits or drift.duplicate_keys:
            for page, body in zip(pages, bodies, strict=True):
                refuse_drift(self._endpoint, self.decoder.decode([body]).drift, f"page {page.key.page}")

    def _without_excluded(self, block: Block, pages: Sequence[PageBody]) -> Block:
        rows: list[int] = []
        first = 0
        for page, count in zip(pages, block.rows_per_page, strict=True):
            excluded = self._excluded.get(page.key, frozenset())
            if max(excluded, default=0) >= max(count, 1):
                raise _damaged(
                    f"The journal leaves out a record of {page.key.endpoint} that page {page.key.page} does not hold."
                )
            rows.extend(first + row for row in excluded)
            first += count
        return block.without(rows) if rows else block


def _check_counts(block: Block, pages: Sequence[PageBody]) -> None:
    for page, count in zip(pages, block.rows_per_page, strict=True):
        # The journal has no counts that hold for the pages of further sweeps.
        if page.key.sweep == 0 and count != page.records:
            raise _damaged(
                f"Page {page.key.page} of {page.key.endpoint} holds {counted(count, 'record')}, and the journal says"
                f" {page.records}."
            )


def _damaged(what: str) -> DamagedState:
    return DamagedState(
        what,
        kept="Nothing was deleted.",
        next_step="Choose another --output, or remove this unfinished export to start afresh.",
    )
