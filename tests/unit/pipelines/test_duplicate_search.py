"""Records on several pages: found by their fingerprints, judged by their content."""

from __future__ import annotations

from typing import Any

from bulk_export.core.model import PageKey
from bulk_export.pipelines.duplicate_search import DuplicateSearch
from bulk_export.pipelines.page_sequence import PageSlot
from bulk_export.transform.decode import Decoder
from bulk_export.transform.dedup.fingerprints import fingerprints
from bulk_export.transform.dedup.resolution import Repeats
from tests.support.stored_pages import PARTNERS, body, record


def search(pages: list[list[dict[str, Any]]], *wanted: int) -> Repeats:
    marks = memoryview(fingerprints([f"{number:08}" for number in wanted])).cast("Q")
    found = DuplicateSearch(PARTNERS, Decoder(PARTNERS, columns=False, lines=None), frozenset(marks))
    for number, records in enumerate(pages, start=1):
        found.look_through([(PageSlot(PageKey(PARTNERS.name, 0, number), number, len(records)), body(records))])
        assert found.done == number
    return found.result()


def test_only_wanted_records_are_judged() -> None:
    """A record whose fingerprint is not wanted is kept, however often it stands there."""
    repeats = search([[record(1), record(2)], [record(1), record(2)]], 2)
    assert repeats.duplicates == 1
    assert dict(repeats.excluded) == {PageKey(PARTNERS.name, 0, 2): frozenset({1})}


def test_a_repetition_without_an_update_is_unexplained() -> None:
    """The same version on two pages makes the order doubtful; a newer version explains itself."""
    assert search([[record(1)], [record(1)]], 1).unexplained
    assert not search([[record(1)], [record(1, updated_at="2025-04-01T00:00:00.000Z")]], 1).unexplained
