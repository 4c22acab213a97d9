"""Sweeps compared by fingerprints give what comparing sets would."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.transform.dedup import fingerprints as duplicates
from bulk_export.transform.dedup.sweep_comparison import agree, distinct, lacks, shared, unlike

# Numbers from all over the hash space, few enough to meet again.
IDS = st.sampled_from([7, 8, 2**62, 2**63, 2**63 + 1, 2**64 - 1])
SWEEP = st.lists(st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=4), max_size=4)
Sweep = list[list[tuple[int, int]]]


@pytest.fixture(autouse=True, params=[4, 1 << 19])
def slice_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_SLICE_ROWS", request.param)


class ObservedType:
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


def rows_of(*sweeps: ObservedType) -> int:
    return sum(len(one.rows) for one in sweeps)


def nameless(row: tuple[int, int]) -> tuple[int, int]:
    """A record whose identity is its content, as where it has none."""
    return row[1] + 10, row[1] + 10


@settings(deadline=None, max_examples=25)
@given(SWEEP, SWEEP)
def test_two_sweeps_agree_if_they_saw_the_same_records_and_the_first_saw_none_in_two_answers(
    one: Sweep, other: Sweep
) -> None:
    first, second = ObservedType(one), ObservedType(other)
    if first.total != first.most:
        return
    expected = first.total.keys() == second.total.keys() and all(
        second.most[identity] <= count <= second.total[identity] for identity, count in first.total.items()
    )
    assert agree(first, second, rows_of(first, second), is_one_answer=False) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_a_sweep_that_showed_the_same_record_in_two_answers_agrees_with_none(sweep: Sweep) -> None:
    row = (5, 1)
    first = ObservedType([[row], *sweep, [row]])
    assert not agree(first, first, rows_of(first, first), is_one_answer=False)


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_records_that_share_an_identity_may_stand_in_several_answers_if_both_sweeps_tell_them_apart(
    sweep: Sweep,
) -> None:
    distinct_rows = list(dict.fromkeys(row for page in sweep for row in page))
    first = ObservedType([[row] for row in distinct_rows])
    second = ObservedType([distinct_rows])
    assert agree(first, first, rows_of(first, first), is_one_answer=False)
    assert agree(first, second, rows_of(first, second), is_one_answer=False) == (
        all(count == 1 for count in second.total.values()) or first.contents == second.contents
    )


@settings(deadline=None, max_examples=25)
@given(SWEEP, st.lists(st.tuples(IDS, st.integers(0, 2)), max_size=6))
def test_a_single_answer_agrees_if_it_saw_what_the_sweep_before_proved_and_nothing_else(
    one: Sweep, page: list[tuple[int, int]]
) -> None:
    first, second = ObservedType(one), ObservedType([page])
    expected = first.total.keys() == second.total.keys() and all(
        first.most[identity] <= count <= first.total[identity] for identity, count in second.total.items()
    )
    assert agree(first, second, rows_of(first, second), is_one_answer=True) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP, st.lists(SWEEP, max_size=2))
def test_a_sweep_lacks_what_an_earlier_one_proved(last: Sweep, earlier: list[Sweep]) -> None:
    seen, before = ObservedType(last), [ObservedType(sweep) for sweep in earlier]
    expected = any(count > seen.total[identity] for one in before for identity, count in one.most.items())
    assert lacks(seen, before, rows_of(seen, *before)) == expected


@settings(deadline=None, max_examples=25)
@given(SWEEP, SWEEP)
def test_records_without_an_identity_count_as_often_as_they_stand_anywhere(one: Sweep, other: Sweep) -> None:
    first, second = (ObservedType([[nameless(row) for row in page] for page in sweep]) for sweep in (one, other))
    rows = rows_of(first, second)
    missing = any(count > second.total[identity] for identity, count in first.total.items())
    assert lacks(second, [first], rows) == missing
    assert agree(first, first, 2 * len(first.rows), is_one_answer=False)
    assert shared(first, rows) == 0
    assert unlike([first, second], rows) == {
        identity
        for identity in first.total.keys() | second.total.keys()
        if first.total[identity] != second.total[identity]
    }


@settings(deadline=None, max_examples=25)
@given(SWEEP)
def test_records_that_share_an_identity_within_an_answer_are_counted(sweep: Sweep) -> None:
    seen = ObservedType(sweep)
    assert shared(seen, len(seen.rows)) == sum(count for count in seen.most.values() if count > 1)


@settings(deadline=None, max_examples=25)
@given(st.lists(SWEEP, min_size=1, max_size=3))
def test_records_are_unlike_unless_every_sweep_has_them_alike_and_none_in_two_answers(sweeps: list[Sweep]) -> None:
    seen = [ObservedType(sweep) for sweep in sweeps]
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
    assert unlike(seen, rows_of(*seen)) == expected
    assert distinct(seen, rows_of(*seen)) == len({identity for one in seen for identity in one.total})
