"""Sweeps compared by fingerprints give what comparing sets would."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.transform.dedup import fingerprints as module
from bulk_export.transform.dedup.sweep_comparison import (
    count_ids,
    count_shared_ids,
    differing_ids,
    lacks_records,
    sweeps_agree,
)

# Numbers from all over the hash space, few enough to meet again.
IDS = st.sampled_from([7, 8, 2**62, 2**63, 2**63 + 1, 2**64 - 1])
SWEEP = st.lists(st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=4), max_size=4)
Sweep = list[list[tuple[int, int]]]


@pytest.fixture(autouse=True, params=[4, 1 << 19])
def slice_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SLICE_ROWS", request.param)


class SeenSweep:
    """A sweep of some answers, with the identities and contents of each."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.rows = [row for page in sweep for row in page]
        self.total = Counter(identity for identity, _ in self.rows)
        self.most: Counter[int] = Counter()
        for page in sweep:
            for identity, count in Counter(identity for identity, _ in page).items():
                self.most[identity] = max(self.most[identity], count)
        self.contents = Counter(self.rows)

    def __call__(self) -> Iterator[tuple[int, bytes, bytes]]:
        for answer, page in enumerate(self.sweep):
            ids, contents = (array("Q", column).tobytes() for column in (zip(*page, strict=True) if page else ((), ())))
            yield answer, ids, contents


def rows_of(*sweeps: SeenSweep) -> int:
    return sum(len(one.rows) for one in sweeps)


def nameless(row: tuple[int, int]) -> tuple[int, int]:
    """A record whose identity is its content, as where it has none."""
    return row[1] + 10, row[1] + 10


@settings(deadline=None, max_examples=25)
@given(SWEEP, SWEEP)
def test_agreement_of_two_sweeps(one: Sweep, other: Sweep) -> None:
    """Two sweeps agree if they saw the same records and the first saw none in two responses."""
    first, second = SeenSweep(one), SeenSweep(other)
    if first.total != first.most:
        return
    expected = first.total.keys() == second.total.keys() and all(
        second.most[identity] <= count <= second.total[identity] for identity, count in first.total.items()
    )
    assert sweeps_agree(first, second, rows_of(first, second), is_one_response=False) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_record_twice_prevents_agreement(sweep: Sweep) -> None:
    """A sweep that showed the same record in two responses agrees with no other, not even with itself."""
    row = (5, 1)
    first = SeenSweep([[row], *sweep, [row]])
    assert not sweeps_agree(first, first, rows_of(first, first), is_one_response=False)


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_shared_ids_in_several_responses(
    sweep: Sweep,
) -> None:
    """Records that share an identity may be in several responses if both sweeps tell them apart."""
    distinct_rows = list(dict.fromkeys(row for page in sweep for row in page))
    first = SeenSweep([[row] for row in distinct_rows])
    second = SeenSweep([distinct_rows])
    assert sweeps_agree(first, first, rows_of(first, first), is_one_response=False)
    assert sweeps_agree(first, second, rows_of(first, second), is_one_response=False) == (
        all(count == 1 for count in second.total.values()) or first.contents == second.contents
    )


@settings(deadline=None, max_examples=25)
@given(SWEEP, st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=6))
def test_agreement_with_a_single_response(one: Sweep, page: list[tuple[int, int]]) -> None:
    """A single response agrees if it has what the sweep before proves, and nothing else."""
    first, second = SeenSweep(one), SeenSweep([page])
    expected = first.total.keys() == second.total.keys() and all(
        first.most[identity] <= count <= first.total[identity] for identity, count in second.total.items()
    )
    assert sweeps_agree(first, second, rows_of(first, second), is_one_response=True) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP, st.lists(SWEEP, max_size=2))
def test_lacking_proven_records(last: Sweep, earlier: list[Sweep]) -> None:
    """A sweep lacks records if an earlier one proves more of some identity."""
    seen, before = SeenSweep(last), [SeenSweep(sweep) for sweep in earlier]
    expected = any(count > seen.total[identity] for one in before for identity, count in one.most.items())
    assert lacks_records(seen, before, rows_of(seen, *before)) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP, SWEEP)
def test_records_without_id_all_count(one: Sweep, other: Sweep) -> None:
    """Records without an identity count as often as they occur, in whichever response."""
    first, second = (SeenSweep([[nameless(row) for row in page] for page in sweep]) for sweep in (one, other))
    rows = rows_of(first, second)
    missing = any(count > second.total[identity] for identity, count in first.total.items())
    assert lacks_records(second, [first], rows) == missing
    assert sweeps_agree(first, first, 2 * len(first.rows), is_one_response=False)
    assert count_shared_ids(first, rows) == 0
    assert differing_ids([first, second], rows) == {
        identity
        for identity in first.total.keys() | second.total.keys()
        if first.total[identity] != second.total[identity]
    }


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_shared_ids_are_counted(sweep: Sweep) -> None:
    seen = SeenSweep(sweep)
    assert count_shared_ids(seen, len(seen.rows)) == sum(count for count in seen.most.values() if count > 1)


@settings(deadline=None, max_examples=25)
@given(st.lists(SWEEP, min_size=1, max_size=3))
def test_differing_ids(sweeps: list[Sweep]) -> None:
    """Identities differ unless every sweep has the same contents of them, in one response each."""
    seen = [SeenSweep(sweep) for sweep in sweeps]
    expected = {
        identity
        for identity in {identity for one in seen for identity in one.total}
        if any(one.total[identity] != one.most[identity] for one in seen)
        or any(
            one.contents[identity, content] != seen[0].contents[identity, content]
            for one in seen
            for content in range(3)
        )
    }
    assert differing_ids(seen, rows_of(*seen)) == expected
    assert count_ids(seen, rows_of(*seen)) == len({identity for one in seen for identity in one.total})
