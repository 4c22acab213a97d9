"""Ids met before, in little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from bulk_export.seen_ids import SeenIds


@given(st.lists(st.text(max_size=3)))
def test_an_id_is_new_the_first_time_and_never_again(ids: list[str]) -> None:
    seen, known = SeenIds(), set()
    for identity in ids:
        assert seen.add(identity) == (identity not in known)
        known.add(identity)


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
