"""Page sizes that grow while it pays, and always cut files at the same records."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from bulk_export.extract.page_sizes import SIZES, SizeTrial, best_size, next_trial, smaller_size
from bulk_export.pipelines.page_sequence import BLOCK_RECORDS

LARGEST = st.sampled_from([1, 100, 300, 1000, 1500, 2999, 3000])
PACES = st.lists(st.tuples(st.floats(0.0, 9.0), st.booleans()), min_size=4, max_size=4)


def tried(paces: list[tuple[float, bool]], largest: int) -> list[SizeTrial]:
    """All trials of a list whose pages take these seconds for each record, and are full or not."""
    trials: list[SizeTrial] = []
    while (size := next_trial(trials, largest)) is not None:
        pace, is_full = paces[len(trials)]
        records = size if is_full else size - 1
        trials.append(SizeTrial(size, records, pace * records))
    return trials


@given(PACES, LARGEST)
def test_sizes_grow_while_it_pays(paces: list[tuple[float, bool]], largest: int) -> None:
    """A larger size is tried only after full pages that took less time for each record, and none above the largest."""
    trials = tried(paces, largest)
    sizes = [trial.size for trial in trials]
    assert sizes == [size for size in SIZES if size <= largest][: len(sizes)]
    for before, after in itertools.pairwise(trials):
        assert before.is_full
        assert after.size > before.size
    for first, second, _ in zip(trials, trials[1:], trials[2:], strict=False):
        assert second.pace < first.pace


@given(PACES, LARGEST)
def test_best_size_is_the_quickest(paces: list[tuple[float, bool]], largest: int) -> None:
    """The quickest full page decides; a list without one gets the smallest size."""
    trials = tried(paces, largest)
    size = best_size(trials, largest)
    full = {trial.size: trial.pace for trial in trials if trial.is_full}
    assert size <= largest
    assert size == min(SIZES[0], largest) if not full else full[size] == min(full.values())


def test_failed_trials_are_never_best() -> None:
    """A page that did not arrive ends the growth."""
    trials = [SizeTrial(300, 300, 0.4), SizeTrial(1500, 0, math.inf)]
    assert next_trial(trials, 3000) is None
    assert best_size(trials, 3000) == 300


def test_sizes_cut_blocks_at_the_same_records() -> None:
    """Whatever size is chosen, blocks hold the same records; so the bytes do not depend on it."""
    assert [BLOCK_RECORDS % size for size in SIZES] == [0, 0, 0]
    assert [smaller_size(size) for size in (3000, 1500, 300)] == [1500, 300, 300]
