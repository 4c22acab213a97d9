"""Fingerprints find repetitions however many records there are."""

from __future__ import annotations

import tracemalloc
from array import array
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.transform.dedup import fingerprints as module
from bulk_export.transform.dedup.fingerprints import SeenKeys, SeenRecords, fingerprints, repeated_fingerprints

marks = st.integers(0, (1 << 64) - 1)


@settings(deadline=None)
@given(st.lists(st.lists(st.text(max_size=3), max_size=30), max_size=6))
def test_exactly_repeated_ids_are_found(parts: list[list[str]]) -> None:
    blobs = [fingerprints(part) for part in parts]
    often = {identity for identity, count in Counter(chain.from_iterable(parts)).items() if count > 1}
    found = repeated_fingerprints(lambda: iter(blobs), sum(map(len, parts)))
    assert found == set(memoryview(fingerprints(often)).cast("Q"))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0, 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]) | marks, max_size=30)),
    st.integers(0, 1 << 23),
)
def test_kernel_and_arrow_find_the_same(parts: list[list[int]], rows: int) -> None:
    """Whatever the fingerprints are, and however many slices there are: 1 to 32."""
    blobs = [array("Q", part).tobytes() for part in parts]
    often = {mark for mark, count in Counter(chain.from_iterable(parts)).items() if count > 1}
    assert set(module._repeated_in_arrow(lambda: iter(blobs), rows)) == often
    assert repeated_fingerprints(lambda: iter(blobs), rows) == often


def test_slices_cover_the_hash_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLICE_ROWS", 64)
    ids = [f"id-{number}" for number in range(2_000)]
    blobs = [fingerprints(ids[:1_000]), fingerprints(ids[1_000:] + ids[::100])]
    assert len(repeated_fingerprints(lambda: iter(blobs), 2_020)) == 20


def test_fingerprint_is_stable() -> None:
    """A fingerprint is the same on every run."""
    assert fingerprints(["7a8fef46-3c43-42c0-b3d5-1ba5904ba562"]).hex() == "af8f0772a7c5db3b"


@settings(deadline=None)
@given(st.lists(st.text(max_size=3)))
def test_key_is_new_once(ids: list[str]) -> None:
    seen, known = SeenKeys(), set()
    for identity in ids:
        assert seen.add(identity) == (identity not in known)
        known.add(identity)


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd"))))
def test_repeated_rows_are_those_with_seen_ids(answers: list[set[str]]) -> None:
    """Rows are repeated if an earlier response had their id."""
    met, known = SeenRecords(), set()
    for ids in map(sorted, answers):
        assert met.repeated_rows(ids, list) == [row for row, identity in enumerate(ids) if identity in known]
        known.update(ids)
    assert not met.ids_are_shared


def test_shared_ids_need_equal_content() -> None:
    """What one response shows twice are two records; from then on only byte-for-byte repetitions are repeated."""
    met = SeenRecords()
    assert met.repeated_rows(["a", "b"], lambda: [b"a1", b"b1"]) == []
    assert met.repeated_rows(["t", "t", "t"], lambda: [b"t1", b"t2", b"t2"]) == []
    assert met.ids_are_shared
    assert met.repeated_rows(["t", "t", "t"], lambda: [b"t3", b"t2", b"t1"]) == [1, 2]


def test_records_without_id_are_never_repeated() -> None:
    met = SeenRecords()
    for _ in range(2):
        assert met.repeated_rows([b"{}", "a", b"{}"], lambda: [b"{}", b"a", b"{}"]) in ([], [1])
    assert not met.ids_are_shared


def test_match_across_two_entries_does_not_count() -> None:
    seen = SeenKeys()
    seen._buckets[:] = [bytearray()] * len(seen._buckets)  # all in one
    assert all(seen.add(str(number)) for number in range(2_000))
    assert not any(seen.add(str(number)) for number in range(2_000))


def test_keys_take_little_memory() -> None:
    """200,000 keys of 32 characters take less than 8 MB."""
    tracemalloc.start()
    try:
        seen = SeenKeys()
        assert all(seen.add(f"{number:032}") for number in range(200_000))
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()


def test_repeats_without_id_are_counted() -> None:
    """Records without an id that an earlier response had are counted, and are no repeated rows."""
    met = SeenRecords()
    assert met.repeated_rows([b"1", b"1"], list) == []
    assert met.repeated_without_id == 0
    assert met.repeated_rows([b"2", b"1", b"3"], list) == []
    assert met.repeated_without_id == 1
