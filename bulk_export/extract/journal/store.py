"""The journal on disk: every page that was fetched, and every part that was finished.

A commit is synced before it returns, so that what was reported as stored survives a kill and a power cut alike. Pages
are committed to a segment, and their rows enter the database later (`batched`); everything else is committed to the
database, whose own checksums drop a torn end of its log. What is read back is checked: its sum, its shape and its size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bulk_export.core.model import PageKey
from bulk_export.errors import UsageError
from bulk_export.extract.content_encoding import Undecodable, crc32
from bulk_export.extract.journal import layout
from bulk_export.extract.journal.batched import BatchedJournal
from bulk_export.extract.journal.bodies import Compression, compressed, header_of, packed, unpacked
from bulk_export.extract.journal.entries import InvalidRow, PageFingerprints, Part, StoredPage, requests_from_row
from bulk_export.extract.journal.fact_names import DECISION
from bulk_export.extract.journal.identity import check_identity
from bulk_export.extract.journal.option_texts import shortened

_FINGERPRINTS_AT_ONCE = 100
_PAGES_AT_ONCE = 8
# What parsing an entry of the wrong shape may raise.
_PARSE_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,
    UsageError,
)

Parsed = TypeVar("Parsed")


class JournalStore(BatchedJournal):
    """Reads and writes one journal file. Blocking; writes from several threads wait for each other.

    Every read raises DamagedState for a row that is not as it was written, and LocalFailure for a file that cannot be
    read.
    """

    def __init__(
        self,
        path: Path,
        *,
        cap: int,
        read_only: bool = False,
        version: int = layout.VERSION,
        compression: Compression = "lz4",
    ) -> None:
        """Open a journal, created with mode 0600 if there is none; with `read_only`, an archive.

        Args:
            path: The file.
            cap: Most bytes of a decompressed body.
            read_only: Whether it is an archive, and stays as it is.
            version: The format of a file that is created.
            compression: How bodies that came uncompressed are stored in a segment;
                in a database they are compressed.

        Raises:
            DamagedState: It is no journal, is damaged, or has a format that is not known here.
            LocalFailure: It cannot be used.
        """
        super().__init__(path, cap=cap, read_only=read_only, version=version)
        self._compression = compression

    @property
    def holds_bodies(self) -> bool:
        """Whether the bodies of pages are in the file itself, as in an archive."""
        return not layout.has_segment(self._version)

    def bind(self, identity: Mapping[str, Any], *, output: Path | None = None) -> bool:
        """Bind the journal to one export, and check everything in it before anything is built on it.

        1. An empty journal becomes that of the export.
        2. A journal of the same export is checked row by row.
        3. So is one that another version of this program began; what that version made of the pages is dropped, unless
           its manifest is already decided.

        Args:
            identity: Everything that pages and parts depend on.
            output: The output directory, for messages.

        Returns:
            Whether the journal was bound to this export before.

        Raises:
            UsageError: It belongs to an export with other parameters, which the message names.
            DamagedState: Something in it is not as it was stored.
        """
        stored = self.parsed_fact("identity", _mapping)
        if stored is None:
            if self.has_pages():
                raise self._damaged("it does not say what its pages are of")
            self.put_fact("identity", json.dumps(identity, sort_keys=True))
            return False
        by_another_version = check_identity(stored, identity, output or self.path.parent.parent)
        names = stored.get("endpoints")
        self._check_everything(names if isinstance(names, list) else None)
        if by_another_version:
            self._take_over(identity)
        return True

    def fact(self, name: str) -> str | None:
        """Return a named text that is kept with the journal, None if there is none."""
        waiting = self._waiting_fact(name)
        if waiting is not None:
            return waiting
        rows = self._select("facts", "WHERE name = ?", (name,))
        return str(self._checked("facts", rows[0], _text_of(name))[1]) if rows else None

    def parsed_fact(self, name: str, parse: Callable[[str], Parsed]) -> Parsed | None:
        """Return a named text as `parse` reads it. Raises DamagedState if it cannot."""
        text = self.fact(name)
        if text is None:
            return None
        try:
            return parse(text)
        except _PARSE_ERRORS:
            raise self._damaged(f"its entry {name} is not as it was written") from None

    def put_fact(self, name: str, value: str) -> None:
        """Store a named text, in place of an earlier one."""
        with self._transaction() as writer:
            self._insert(writer, "facts", [(name, value)], replaces=True)

    def add_pages(self, pages: Iterable[StoredPage], requests: Mapping[str, int], facts: Mapping[str, str]) -> None:
        """Make pages durable in one transaction, with further facts.

        Args:
            pages: The pages, each in place of an earlier one with its key.
            requests: Requests sent for each endpoint since the last transaction.
            facts: Named texts, each in place of an earlier one.
        """
        if layout.has_batches(self._version):
            self._append(*packed(pages, self._compression), requests, facts)
            return
        rows = self._rows(pages)
        with self._transaction() as writer:
            marks = ", ".join("?" * (len(layout.columns("pages", self._version)) + self.holds_bodies))
            writer.executemany(f"INSERT OR REPLACE INTO pages VALUES ({marks})", rows)  # noqa: S608  # names of ours
            self._insert_counts(writer, requests, facts)

    def requests(self) -> dict[str, int]:
        """Return how many requests were sent for each endpoint, over all runs."""
        self._settle()
        return dict(self._checked("requests", row, requests_from_row) for row in self._select("requests", ""))

    def page_counts(self, endpoint: str, sweep: int) -> list[tuple[int, int]]:
        """Return number and record count of each stored page of a sweep, in page order."""
        return [(row[2], row[3]) for row in self._headers(endpoint, sweep)]

    def body(self, key: PageKey) -> bytes:
        """Return the decompressed body of a stored page. Raises DamagedState if it is missing."""
        row = self._waiting_page(key)
        if row is None:
            where = "WHERE endpoint = ? AND sweep = ? AND page = ?"
            rows = self._select("pages", where, (key.endpoint, key.sweep, key.page), first=self._body_column)
            if not rows:
                raise self._damaged(f"page {key.page} of {key.endpoint} is missing")
            (row,) = rows
        page = self._page(row)
        try:
            return unpacked(page, self.cap)
        except Undecodable:
            raise self._damaged(f"page {key.page} of {key.endpoint} cannot be unpacked") from None

    def pages(self) -> Iterator[StoredPage]:
        """Yield every page as it is stored; a few are in memory at a time."""
        self._settle()
        last = 0
        while True:
            where = "WHERE rowid > ? ORDER BY rowid LIMIT ?"
            rows = self._select("pages", where, (last, _PAGES_AT_ONCE), first=f"rowid, {self._body_column}")
            if not rows:
                return
            last = rows[-1][0]
            yield from (self._page(row[1:]) for row in rows)

    def facts(self) -> dict[str, str]:
        """Return every named text."""
        self._settle()
        with self._failures():
            names = [name for (name,) in self._reader.execute("SELECT name FROM facts").fetchall()]
        return {name: self.fact(name) or "" for name in names}

    def edges(self, endpoint: str, sweep: int) -> Iterator[tuple[int | None, int | None]]:
        """Yield the order keys of the first and last record of each stored page with records, in page order."""
        yield from ((row[4], row[5]) for row in self._headers(endpoint, sweep) if row[3])

    def add_page_fingerprints(self, endpoint: str, sweep: int, pages: Iterable[PageFingerprints]) -> None:
        """Store the fingerprints of pages of a sweep."""
        with self._transaction() as writer:
            rows = ((endpoint, sweep, page.page, page.ids, page.contents) for page in pages)
            self._insert(writer, "prints", rows, replaces=True)

    def last_fingerprinted_page(self, endpoint: str, sweep: int) -> int:
        """Return the last page of a sweep whose fingerprints are stored, 0 if there is none."""
        with self._failures():
            row = self._reader.execute(
                "SELECT max(page) FROM prints WHERE endpoint = ? AND sweep = ?", (endpoint, sweep)
            ).fetchone()
        return row[0] or 0

    def page_fingerprints(self, endpoint: str, sweep: int) -> Iterator[PageFingerprints]:
        """Yield the fingerprints of a sweep in page order; some hundred pages are in memory at a time."""
        last: float = -math.inf
        while True:
            where = "WHERE endpoint = ? AND sweep = ? AND page > ? ORDER BY page LIMIT ?"
            rows = self._select("prints", where, (endpoint, sweep, last, _FINGERPRINTS_AT_ONCE))
            if not rows:
                return
            for row in rows:
                page = self._checked("prints", row, PageFingerprints.from_row)
                last = page.page
                yield page

    def add_part(self, part: Part) -> None:
        """Record that a part is completely on disk."""
        files = json.dumps([[file.path, file.rows, file.bytes, file.sha256] for file in part.files])
        row = (part.endpoint, part.revision, part.part, part.last_page, part.rows, files, json.dumps(part.drift))
        with self._transaction() as writer:
            self._insert(writer, "parts", [(*row, part.fingerprints)])

    def parts(self, endpoint: str, revision: int) -> list[Part]:
        """Return the finished parts of an endpoint's revision in order, without their fingerprints."""
        parts = [Part.from_row(row) for row in self._part_rows(endpoint, revision)]
        last = -1
        for number, part in enumerate(parts):
            if part.part != number or part.last_page <= last:
                raise self._damaged(f"a part of {endpoint} is missing, or does not follow the one before it")
            last = part.last_page
        return parts

    def fingerprints(self, endpoint: str, revision: int) -> Iterator[bytes]:
        """Yield the fingerprints of an endpoint's rows, a part at a time."""
        for row in self._part_rows(endpoint, revision):
            yield row[-1]

    def _part_rows(self, endpoint: str, revision: int) -> Iterator[Sequence[Any]]:
        with self._failures():
            numbers = self._reader.execute(
                "SELECT part FROM parts WHERE endpoint = ? AND revision = ? ORDER BY part", (endpoint, revision)
            ).fetchall()
        for (number,) in numbers:
            where = "WHERE endpoint = ? AND revision = ? AND part = ?"
            for row in self._select("parts", where, (endpoint, revision, number)):
                self._checked("parts", row, Part.from_row)
                yield row[: len(layout.COLUMNS["parts"])]

    @property
    def _body_column(self) -> str:
        return "body, " if self.holds_bodies else ""

    def _headers(self, endpoint: str, sweep: int) -> list[Sequence[Any]]:
        """Return the rows of a sweep's pages without their bodies, in page order."""
        self._settle()
        rows = self._select("pages", "WHERE endpoint = ? AND sweep = ? ORDER BY page", (endpoint, sweep))
        for row in rows:
            self._checked("pages", row, self._checked_header)
        return rows

    def _page(self, row: Sequence[Any]) -> StoredPage:
        """Return a page from the columns that enter the sum, and from its body, which is before them or elsewhere."""
        header = row[1:] if self.holds_bodies else row
        page: StoredPage = self._checked("pages", header, self._checked_header)
        stored = row[0] if self.holds_bodies else self._read(page, *header[9:11])
        if not isinstance(stored, bytes) or crc32(stored) != header[8] or not page.may_hold(len(stored)):
            raise self._damaged(f"page {page.key.page} of {page.key.endpoint} is not as it was stored")
        return replace(page, stored=stored)

    def _read(self, page: StoredPage, position: int, size: int) -> bytes:
        if self._segment is None:
            raise self._damaged(f"page {page.key.page} of {page.key.endpoint} is missing")
        with self._failures():
            stored = self._segment.read(position, size)
        if len(stored) != size:
            raise self._damaged(f"page {page.key.page} of {page.key.endpoint} is not as it was stored")
        return stored

    def _checked_header(self, values: Sequence[Any]) -> StoredPage:
        return StoredPage.from_row(values, self.cap)

    def _checked(self, table: str, row: Sequence[Any], parse: Callable[[Sequence[Any]], Parsed]) -> Parsed:
        """Return the values of a row as `parse` reads them. Raises DamagedState if it cannot, or the sum is wrong."""
        values = row[: len(layout.summed_columns(table, self._version))]
        try:
            if layout.has_sums(self._version) and layout.row_sum(table, values) != row[-1]:
                raise InvalidRow("is not as it was stored")
            return parse(values)
        except _PARSE_ERRORS as error:
            reason = str(error) if isinstance(error, InvalidRow) else "is not as it was stored"
            raise self._damaged(f"{_row_name(table, values)} {reason}") from None

    def _check_everything(self, endpoints: Sequence[str] | None) -> None:
        """Check sum and shape of every row. `endpoints` are those that it may hold, None if that is not known."""
        for page in self.pages():
            if endpoints is not None and page.key.endpoint not in endpoints:
                raise self._damaged(f"it holds a page of {shortened(page.key.endpoint)}, which is not exported")
        self._check_places()
        self.requests()
        self.facts()
        with self._failures():
            parts = self._reader.execute("SELECT DISTINCT endpoint, revision FROM parts").fetchall()
            sweeps = self._reader.execute("SELECT DISTINCT endpoint, sweep FROM prints").fetchall()
        for endpoint, revision in parts:
            if endpoints is not None and endpoint not in endpoints:
                raise self._damaged(f"it holds a part of {shortened(endpoint)}, which is not exported")
            self.parts(endpoint, revision)
        for endpoint, sweep in sweeps:
            for _ in self.page_fingerprints(endpoint, sweep):
                pass

    def _check_places(self) -> None:
        """Check that no two bodies share a byte of the segment."""
        if self.holds_bodies:
            return
        with self._failures():
            places = self._reader.execute(
                "SELECT position, stored_size, page, endpoint FROM pages ORDER BY position, stored_size"
            )
            last = 0
            for position, size, page, endpoint in places:
                if position < last:
                    raise self._damaged(f"page {page} of {endpoint} lies where another one does")
                last = position + size

    def has_pages(self) -> bool:
        """Whether any page is stored."""
        if self._waiting is not None and self._waiting.pages:
            return True
        with self._failures():
            return self._reader.execute("SELECT 1 FROM pages LIMIT 1").fetchone() is not None

    def _take_over(self, identity: Mapping[str, Any]) -> None:
        """Keep the pages of another version, and drop what it made of them, unless that is about to be published."""
        is_decided = self.fact(DECISION) is not None
        with self._transaction() as writer:
            if not is_decided:
                self._drop_conversions(writer)
            self._insert(writer, "facts", [("identity", json.dumps(identity, sort_keys=True))], replaces=True)

    def _rows(self, pages: Iterable[StoredPage]) -> list[tuple[Any, ...]]:
        """Return the rows of pages, each with its body, or after all bodies were put into the segment."""
        if self._segment is None:
            return [(*self._with_sum(header_of(page)), page.stored) for page in map(compressed, pages)]
        bodies, headers = packed(pages, self._compression)
        with self._failures():
            positions = self._segment.append(bodies)
        return [
            self._with_sum((*header[:-1], position, header[-1]))
            for header, position in zip(headers, positions, strict=True)
        ]

    def _with_sum(self, header: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*header, layout.row_sum("pages", header)) if layout.has_sums(self._version) else header


def _mapping(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _text_of(name: str) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def parse(values: Sequence[Any]) -> Sequence[Any]:
        if values[0] != name or not isinstance(values[1], str):
            raise InvalidRow("is not a text")
        return values

    return parse


def _row_name(table: str, values: Sequence[Any]) -> str:
    match table:
        case "pages" | "prints":
            return f"page {shortened(values[2])} of {shortened(values[0])}"
        case "parts":
            return f"part {shortened(values[2])} of {shortened(values[0])}"
        case "requests":
            return f"the number of requests for {shortened(values[0])}"
        case _:
            return f"its entry {shortened(values[0])}"
