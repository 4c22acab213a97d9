"""Ids met before, in little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.transform.dedup.seen_ids import MetBefore, SeenIds


@settings(deadline=None)
@given(st.lists(st.text(max_size=3)))
def test_an_id_is_new_the_first_time_and_never_again(ids: list[str]) -> None:
    seen, known = SeenIds(), set()
    for identity in ids:
        assert seen.add(identity) == (identity not in known)
        known.add(identity)


@settings(deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd"))))
def test_rows_of_an_answer_were_met_before_if_an_earlier_answer_had_their_id(answers: list[set[str]]) -> None:
    met, known = MetBefore(), set()
    for ids in map(sorted, answers):
        assert met.rows(ids, list) == [row for row, identity in enumerate(ids) if identity in known]
        known.update(ids)
    assert not met.is_shared


def test_what_one_answer_shows_twice_is_two_records_and_then_only_repetitions_were_met_before() -> None:
    met = MetBefore()
    assert met.rows(["a", "b"], lambda: [b"a1", b"b1"]) == []
    assert met.rows(["t", "t", "t"], lambda: [b"t1", b"t2", b"t2"]) == []
    assert met.is_shared
    assert met.rows(["t", "t", "t"], lambda: [b"t3", b"t2", b"t1"]) == [1, 2]


def test_records_without_an_identity_were_never_met() -> None:
    met = MetBefore()
    for _ in range(2):
        assert met.rows([b"{}", "a", b"{}"], lambda: [b"{}", b"a", b"{}"]) in ([], [1])
    assert not met.is_shared


def test_a_match_across_the_edge_of_two_ids_is_none() -> None:
    seen = SeenIds()
    seen._buckets[:] = [bytearray()] * len(seen._buckets)  # all in one
    assert all(seen.add(str(number)) for number in range(2_000))
    assert not any(seen.add(str(number)) for number in range(2_000))


def test_an_id_takes_a_fraction_of_what_it_takes_in_a_set() -> None:
    tracemalloc.start()
    try:
        seen = SeenIds()
        assert all(seen.add(f"{number:032}") for number in range(200_000))
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()


def test_records_without_an_id_that_an_earlier_answer_showed_are_counted_and_kept() -> None:
    met = MetBefore()
    assert met.rows([b"1", b"1"], list) == []
    assert met.nameless == 0
    assert met.rows([b"2", b"1", b"3"], list) == []
    assert met.nameless == 1
