"""Sweeps compared by fingerprints give what comparing sets would."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export import duplicates
from bulk_export.agreement import same_ids, unlike

# Numbers from all over the hash space, few enough to meet again.
IDS = st.sampled_from([0, 1, 2**62, 2**63, 2**63 + 1, 2**64 - 1])
SWEEP = st.lists(st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=4), max_size=4)
Sweep = list[list[tuple[int, int]]]


@pytest.fixture(autouse=True, params=[1, 1 << 19])
def slice_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_SLICE_ROWS", request.param)


class Seen:
    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.rows = [row for page in sweep for row in page]
        self.ids = [identity for identity, _ in self.rows]

    def __call__(self) -> Iterator[tuple[bytes, bytes]]:
        for page in self.sweep:
            ids, contents = (array("Q", column).tobytes() for column in (zip(*page, strict=True) if page else ((), ())))
            yield ids, contents


@settings(deadline=None)
@given(SWEEP, SWEEP)
def test_two_sweeps_agree_when_their_ids_do_and_the_first_shows_none_twice(one: Sweep, other: Sweep) -> None:
    first, second = Seen(one), Seen(other)
    expected = len(set(first.ids)) == len(first.ids) and set(first.ids) == set(second.ids)
    assert same_ids(first, second, len(first.ids) + len(second.ids)) == expected


@settings(deadline=None)
@given(st.lists(SWEEP, min_size=1, max_size=3))
def test_records_are_unlike_unless_every_sweep_has_them_once_and_alike(sweeps: list[Sweep]) -> None:
    seen = [Seen(sweep) for sweep in sweeps]
    counts = [Counter(one.ids) for one in seen]
    contents = {row for one in seen for row in one.rows}
    expected = {
        identity
        for identity in {identity for one in seen for identity in one.ids}
        if any(count[identity] != 1 for count in counts) or len([1 for row in contents if row[0] == identity]) > 1
    }
    assert unlike(seen, sum(len(one.ids) for one in seen)) == expected
