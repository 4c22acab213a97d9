"""Duplicates: found however many records there are, and the newest kept."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import PageKey
from bulk_export.transform.dedup import fingerprints as duplicates
from bulk_export.transform.dedup.fingerprints import Occurrence, Repeats, fingerprints, repeated, settle


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
    found = settle(rows)
    assert found.left_out == {page(1): {5}, page(2): {1, 2}, page(3): {0}}
    assert (found.duplicates, found.shared) == (4, 0)


def kept(rows: list[Occurrence], found: Repeats) -> list[Occurrence]:
    return [one for one in rows if one.row not in found.left_out.get(one.page, ())]


VERSIONS = st.none() | st.floats(0, 5)
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), VERSIONS, st.integers(0, 2)), max_size=20)


@given(ROWS)
def test_each_id_is_left_exactly_once_whatever_the_order_they_are_met_in(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    once = {(name, number): (name, number, version, content) for name, number, version, content in drawn}
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate(once.values())]
    found = settle(rows)
    assert settle(reversed(rows)) == found
    left = kept(rows, found)
    assert sorted(one.id for one in left) == sorted({one.id for one in rows})
    assert (found.shared, found.duplicates) == (0, len(rows) - len(left))
    for one in left:
        versions = [other.version for other in rows if other.id == one.id and other.version is not None]
        assert one.version == max(versions, default=None)


@given(ROWS)
def test_what_a_page_shows_twice_are_two_records_and_only_repetitions_on_other_pages_are_left_out(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    twins = [("twin", 1, None, 7), ("twin", 1, None, 8), ("twin", 1, None, 8)]
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate([*twins, *drawn])]
    found = settle(rows)
    assert settle(reversed(rows)) == found
    on_a_page = Counter((one.page, one.id, one.content) for one in rows)
    proven: Counter[tuple[object, int]] = Counter()
    for (_, name, content), count in on_a_page.items():
        proven[name, content] = max(proven[name, content], count)
    assert Counter((one.id, one.content) for one in kept(rows, found)) == proven
    assert found.shared >= 3
    assert found.duplicates == len(rows) - sum(proven.values())


@given(ROWS)
def test_records_without_an_identity_are_all_kept_and_those_shown_again_are_counted(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    rows = [
        Occurrence.of(f"{name}{content}".encode(), page(number), row, version, content)
        for row, (name, number, version, content) in enumerate(drawn)
    ]
    found = settle(rows)
    assert (found.left_out, found.shared) == ({}, 0)
    pages = Counter((one.id, one.page) for one in rows)
    proven = {name: max(count for (other, _), count in pages.items() if other == name) for name, _ in pages}
    assert found.duplicates == len(rows) - sum(proven.values())
    assert found.unexplained == (found.duplicates > 0)


@given(ROWS)
def test_one_answer_repeats_nothing_however_many_pages_it_was_cut_into(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate(drawn)]
    found = settle(rows, is_one_answer=True)
    counts = Counter(one.id for one in rows)
    assert found == Repeats({}, 0, sum(count for count in counts.values() if count > 1), unexplained=False)


def test_a_record_that_stands_on_two_pages_without_an_update_is_noticed() -> None:
    updated = [Occurrence("a", page(1), 0, 1.0, 5), Occurrence("a", page(2), 0, 2.0, 6)]
    assert not settle(updated).unexplained
    assert settle([*updated, Occurrence("a", page(3), 0, 2.0, 6)]).unexplained
    assert settle([*updated, Occurrence("a", page(3), 0, 2.0, 7)]).unexplained
    assert settle([Occurrence("a", page(1), 0, None, 5), Occurrence("a", page(2), 0, None, 6)]).unexplained
