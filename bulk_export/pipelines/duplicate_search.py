"""Finds the records that stand on several pages of a converted endpoint.

Parts leave 64 bits of each record's identity in the journal. Where all of these differ, no record stands twice, and
nothing else is read. Otherwise the pages are looked through once more, for the records in question only.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from bulk_export.core.model import Endpoint, PageKey
from bulk_export.extract.journal import JournalStore
from bulk_export.output.parts import PartSequence
from bulk_export.pipelines.page_sequence import PageSlot
from bulk_export.transform.decode import Body, Decoder, RecordShaper, record_version
from bulk_export.transform.dedup.fingerprints import fingerprints, fingerprints_of, repeated_fingerprints
from bulk_export.transform.dedup.resolution import Occurrence, Repeats, rows_to_exclude


def find_repeated(parts: PartSequence, endpoint: Endpoint, store: JournalStore) -> frozenset[int]:
    """Return the fingerprints that occur more than once in the finished parts. Blocking."""
    return repeated_fingerprints(functools.partial(store.fingerprints, endpoint.name, parts.revision), parts.rows)


class DuplicateSearch:
    """Collects the occurrences of records with one of the `wanted` fingerprints, a block of pages at a time.

    Args:
        endpoint: Its description.
        decoder: Gives the identities from which the fingerprints were made.
        wanted: The fingerprints that repeat.
    """

    def __init__(self, endpoint: Endpoint, decoder: Decoder, wanted: frozenset[int]) -> None:
        self._endpoint = endpoint
        self._decoder = decoder
        self._shaper = RecordShaper(endpoint)
        self._wanted = wanted
        self._occurrences: list[Occurrence] = []
        # The ordinal of the last page that was looked through.
        self.done = 0

    def look_through(self, pages: Iterable[tuple[PageSlot, Body]]) -> None:
        """Collect what the next pages hold."""
        for page, body in pages:
            self._occurrences.extend(self._occurrences_on(page.key, body))
            self.done = page.ordinal

    def result(self) -> Repeats:
        """Return which rows are to be left out, now that all pages were looked through."""
        return rows_to_exclude(self._occurrences, is_one_response=self._endpoint.paging.style == "none")

    def _occurrences_on(self, key: PageKey, body: Body) -> list[Occurrence]:
        ids = self._decoder.decode([body]).ids
        records = self._shaper.split(body)
        marks = memoryview(fingerprints(ids)).cast("Q")
        rows = [row for row, mark in enumerate(marks) if mark in self._wanted]
        contents = memoryview(fingerprints_of(records[row] for row in rows)).cast("Q")
        return [
            Occurrence.of(ids[row], key, row, record_version(self._shaper.normalize(records[row])), content)
            for row, content in zip(rows, contents, strict=True)
        ]
