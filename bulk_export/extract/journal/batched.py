"""A journal whose pages are durable in batches of its segment before their rows are in its database.

A commit of pages is one append and one sync. Their rows stay in memory, and enter the database with the next other
transaction, together with the tip behind their batch, or when there are many. When the journal is opened after a kill,
the rows of the batches behind that tip are read from the segment.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bulk_export.core.model import PageKey
from bulk_export.errors import BulkExportError
from bulk_export.extract.journal import layout
from bulk_export.extract.journal.batches import Batch, DamagedBatch, Tip, append_batch, batches_behind
from bulk_export.extract.journal.entries import InvalidRow
from bulk_export.extract.journal.fact_names import (
    DECISION,
    OBJECT_STORE,
    REPLACED,
    RESULTS,
    UPLOADED,
    names_of,
    starts_of,
)
from bulk_export.extract.journal.file import JournalFile
from bulk_export.extract.journal.segment import Segment, segment_of

logger = logging.getLogger(__name__)

# Rows enter the database when so many pages wait for it.
_MOST_WAITING = 128


class WaitingRows:
    """What is in batches of the segment and not yet in the database; the last of each name counts.

    Attributes:
        tip: The tip behind the last of those batches.
        pages: Rows of pages without their sums.
        requests: Requests sent for each endpoint.
        facts: Named texts.
    """

    def __init__(self, tip: Tip) -> None:
        self.tip = tip
        self.is_empty = True
        self.pages: dict[PageKey, Sequence[Any]] = {}
        self.requests: Counter[str] = Counter()
        self.facts: dict[str, str] = {}

    def add(self, batch: Batch, tip: Tip) -> None:
        """Add a batch, which is durable."""
        self.requests.update(batch.requests)
        self.facts |= batch.facts
        for row in batch.pages:
            # A page that comes again moves to the end, as in the database.
            self.pages.pop(PageKey(*row[:3]), None)
            self.pages[PageKey(*row[:3])] = row
        self.tip = tip
        self.is_empty = False


class BatchedJournal(JournalFile):
    """A journal file whose format may have batches; in other formats it is as any other."""

    _waiting: WaitingRows | None = None

    def close(self) -> None:
        """Put waiting rows into the database, and close the file."""
        # If that fails, the next run finds them in the segment.
        with contextlib.suppress(BulkExportError):
            self._settle()
        super().close()

    def seal(self) -> None:
        """Close the file so that it can be read in a directory that cannot be written to."""
        self._settle()
        super().seal()

    def drop_results(self) -> None:
        """Drop the parts that were made of the pages, and the decision to publish them. The pages stay."""
        with self._transaction() as writer:
            writer.execute("DELETE FROM parts")
            _drop_facts(writer, names=(DECISION, REPLACED, OBJECT_STORE), starts=(UPLOADED,))

    def begin_again(self, endpoint: str, facts: Mapping[str, str]) -> None:
        """Drop what is stored of an endpoint, except how many requests it took, and store facts: all or none.

        The bodies stay in their segment until the journal is removed.
        """
        with self._transaction() as writer:
            for table in ("pages", "parts", "prints"):
                writer.execute(f"DELETE FROM {table} WHERE endpoint = ?", (endpoint,))  # noqa: S608  # names of ours
            _drop_facts(writer, names=names_of(endpoint), starts=starts_of(endpoint))
            self._insert(writer, "facts", facts.items(), replaces=True)

    def _drop_conversions(self, writer: sqlite3.Connection) -> None:
        """Drop what was made of the pages."""
        for table in ("parts", "prints"):
            writer.execute(f"DELETE FROM {table}")  # noqa: S608  # names of ours
        _drop_facts(writer, starts=RESULTS)

    def _open_segment(self) -> Segment:
        """Open the segment, and take the rows of batches that are not in the database from it."""
        if not layout.has_batches(self._version):
            return super()._open_segment()
        tip = self._tip()
        (end,) = self._reader.execute("SELECT max(position + stored_size) FROM pages").fetchone()
        if end is not None and not (type(end) is int and 0 <= end <= tip.position):
            raise self._damaged("it does not say where its pages are")
        segment = self._opened_segment(end=tip.position)
        try:
            self._recover(segment, tip)
        except BaseException:
            segment.close()
            raise
        return segment

    def _tip(self) -> Tip:
        """Return the tip behind the batches whose rows are in the database. Raises DamagedState."""
        rows = self._select("batches", "")
        try:
            if len(rows) != 1 or layout.row_sum("batches", rows[0][:-1]) != rows[0][-1]:
                raise InvalidRow("is not as it was stored")
            return Tip.from_row(rows[0][:-1])
        except (ValueError, TypeError, RecursionError):
            raise self._damaged("it does not say where its pages are") from None

    def _recover(self, segment: Segment, tip: Tip) -> None:
        """Put the rows of whole batches behind a tip into the database."""
        if segment.size() < tip.position:
            raise self._damaged(f"{segment_of(self.path).name}, which holds its pages, is cut short")
        waiting = WaitingRows(tip)
        try:
            for batch, behind in batches_behind(segment, tip, cap=self.cap):
                waiting.add(batch, behind)
        except DamagedBatch as error:
            raise self._damaged(str(error)) from None
        rest = segment.size() - waiting.tip.position
        if rest > 0:
            logger.info("%d bytes behind the last whole commit of %s are of one that was cut short", rest, self.path)
        if not waiting.is_empty:
            segment.make_durable(tip.position, waiting.tip.position)
        self._waiting = waiting
        self._settle()

    def _append(
        self,
        bodies: Iterable[bytes],
        rows: Iterator[Sequence[Any]],
        requests: Mapping[str, int],
        facts: Mapping[str, str],
    ) -> None:
        """Make a batch durable. `rows` yields the row of each page without its position, once its body was taken."""
        with self._writing, self._failures():
            assert self._segment is not None
            assert self._waiting is not None
            batch, tip = append_batch(
                self._segment,
                self._waiting.tip,
                bodies,
                lambda positions: Batch(
                    [(*row[:-1], position, row[-1]) for row, position in zip(rows, positions, strict=True)],
                    requests,
                    facts,
                ),
            )
            self._waiting.add(batch, tip)
            if len(self._waiting.pages) >= _MOST_WAITING:
                self._settle()

    def _waiting_page(self, key: PageKey) -> Sequence[Any] | None:
        """Return the row of a page that is not in the database yet, with its sum."""
        row = None if self._waiting is None else self._waiting.pages.get(key)
        return None if row is None else (*row, layout.row_sum("pages", row))

    def _waiting_fact(self, name: str) -> str | None:
        return None if self._waiting is None else self._waiting.facts.get(name)

    def _settle(self) -> None:
        """Put waiting rows into the database, before something is read of many of them."""
        if self._waiting is not None and not self._waiting.is_empty:
            with self._transaction():
                pass

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that begins with the waiting rows, so that it never overtakes a commit before it."""
        with self._writing:
            waiting = self._waiting
            with super()._transaction() as writer:
                if waiting is not None and not waiting.is_empty:
                    self._insert(writer, "pages", waiting.pages.values(), replaces=True)
                    self._insert_counts(writer, waiting.requests, waiting.facts)
                    writer.execute("DELETE FROM batches")
                    self._insert(writer, "batches", [waiting.tip.row()])
                yield writer
            if waiting is not None and not waiting.is_empty:
                # Readers look here first and then into the database, so nothing is in neither.
                self._waiting = WaitingRows(waiting.tip)

    def _insert_counts(self, writer: sqlite3.Connection, requests: Mapping[str, int], facts: Mapping[str, str]) -> None:
        """Add requests to those counted before, and replace facts."""
        for endpoint, sent in requests.items():
            row = writer.execute("SELECT sent FROM requests WHERE endpoint = ?", (endpoint,)).fetchone()
            self._insert(writer, "requests", [(endpoint, sent + (row[0] if row else 0))], replaces=True)
        self._insert(writer, "facts", facts.items(), replaces=True)


def _drop_facts(writer: sqlite3.Connection, *, names: Iterable[str] = (), starts: Iterable[str] = ()) -> None:
    """Delete the facts with these names, and those whose names start so."""
    writer.executemany("DELETE FROM facts WHERE name = ?", [(name,) for name in names])
    writer.executemany("DELETE FROM facts WHERE substr(name, 1, ?) = ?", [(len(start), start) for start in starts])
