"""Duplicates: found however many records there are, and the newest kept."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export import duplicates
from bulk_export.duplicates import Occurrence, fingerprints, repeated, superseded
from bulk_export.model import PageKey


def page(number: int) -> PageKey:
    return PageKey("things", 0, number)


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=3), max_size=30), max_size=6))
def test_exactly_the_ids_that_occur_more_than_once_are_found(parts: list[list[str]]) -> None:
    blobs = [fingerprints(part) for part in parts]
    often = {identity for identity, count in Counter(chain.from_iterable(parts)).items() if count > 1}
    found = repeated(lambda: iter(blobs), sum(map(len, parts)))
    assert found == set(memoryview(fingerprints(often)).cast("Q"))


def test_slices_of_the_hash_space_together_see_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_SLICE_ROWS", 64)
    ids = [f"id-{number}" for number in range(2_000)]
    blobs = [fingerprints(ids[:1_000]), fingerprints(ids[1_000:] + ids[::100])]
    assert len(repeated(lambda: iter(blobs), 2_020)) == 20


def test_a_fingerprint_is_the_same_on_every_run() -> None:
    assert fingerprints(["7a8fef46-3c43-42c0-b3d5-1ba5904ba562"]).hex() == "af8f0772a7c5db3b"


def test_the_newest_version_stays_and_the_first_of_equals() -> None:
    rows = [
        Occurrence("a", page(1), 5, 10.0),
        Occurrence("a", page(2), 0, 11.0),
        Occurrence("a", page(3), 0, 11.0),
        Occurrence("b", page(1), 6, None),
        Occurrence("b", page(2), 1, None),
        Occurrence("c", page(2), 2, None),
        Occurrence("c", page(3), 1, 1.0),
    ]
    assert superseded(rows) == {page(1): {5}, page(2): {1, 2}, page(3): {0}}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.none() | st.floats(0, 5)), max_size=20))
def test_each_id_is_left_exactly_once_whatever_the_order_they_are_met_in(
    drawn: list[tuple[str, int, float | None]],
) -> None:
    rows = [Occurrence(identity, page(number), row, version) for row, (identity, number, version) in enumerate(drawn)]
    left_out = superseded(rows)
    assert superseded(reversed(rows)) == left_out
    kept = [one for one in rows if one.row not in left_out.get(one.page, ())]
    assert sorted(one.id for one in kept) == sorted({one.id for one in rows})
    for one in kept:
        versions = [other.version for other in rows if other.id == one.id and other.version is not None]
        assert one.version == max(versions, default=None)
