"""Which sighting of a record is written, and what is remembered of the decision."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.model import PageKey
from bulk_export.transform.dedup.fingerprints import Occurrence
from bulk_export.transform.dedup.resolution import ConflictResolver, Corrections, is_outdated


def seen(sweep: int, page: int, version: float | None, content: int, identity: str = "a", row: int = 0) -> Occurrence:
    return Occurrence(identity, PageKey("things", sweep, page), row, version, content)


def written(
    *occurrences: Occurrence, last: int = 2, drop_gone: bool = False
) -> tuple[ConflictResolver, tuple[int, int] | None]:
    """The ballot, and the sweep and page that are written from."""
    ballot = ConflictResolver(last, drop_gone)
    ballot.decide(occurrences)
    kept = [one for one in occurrences if one.page.sweep == 0 and one.row not in ballot.left_out.get(one.page, ())]
    taken = [one for one in occurrences if one.row in ballot.taken.get(one.page, ())]
    assert len(kept) + len(taken) <= 1
    return ballot, next(((one.page.sweep, one.page.page) for one in kept + taken), None)


def test_the_newest_version_is_written_wherever_it_stands() -> None:
    assert written(seen(0, 1, 5, 1), seen(1, 1, 3, 2), seen(2, 1, 4, 3))[1] == (0, 1)
    ballot, place = written(seen(0, 1, 1, 1), seen(1, 1, 3, 2), seen(2, 1, 3, 2))
    assert place == (1, 1)
    assert (ballot.changed, ballot.recovered, ballot.duplicates, ballot.gone) == (1, 0, 0, 0)


def test_of_equal_or_unknown_versions_the_latest_content_is_written() -> None:
    assert written(seen(0, 1, 1, 1), seen(1, 1, 1, 2), seen(2, 1, 1, 2))[1] == (1, 1)
    assert written(seen(0, 1, None, 1), seen(1, 1, None, 1), seen(2, 1, None, 9))[1] == (2, 1)


def test_within_the_first_sweep_the_first_of_equals_stays_and_the_others_are_duplicates() -> None:
    ballot, place = written(seen(0, 1, 1, 1), seen(0, 2, 1, 1), seen(1, 1, 1, 1), last=1)
    assert place == (0, 1)
    assert (ballot.duplicates, ballot.changed) == (1, 0)


def test_what_only_a_further_sweep_saw_is_recovered() -> None:
    ballot, place = written(seen(1, 4, 1, 1), seen(2, 4, 1, 1))
    assert place == (1, 4)
    assert ballot.recovered == 1


def test_what_the_last_sweep_did_not_see_is_gone_and_kept_or_dropped() -> None:
    ballot, place = written(seen(0, 1, 1, 1), seen(1, 1, 1, 1))
    assert (ballot.gone, place) == (1, (0, 1))
    ballot, place = written(seen(0, 1, 1, 1), seen(1, 1, 1, 1), drop_gone=True)
    assert (ballot.gone, place) == (1, None)
    ballot, place = written(seen(1, 1, 1, 1), drop_gone=True)
    assert (ballot.gone, ballot.recovered, place) == (1, 0, None)


def test_records_that_share_a_fingerprint_are_told_apart() -> None:
    ballot = ConflictResolver(1, drop_gone=False)
    ballot.decide([seen(sweep, 1, 1, 1, identity, row) for sweep in (0, 1) for row, identity in enumerate("ab")])
    assert (ballot.left_out, ballot.taken) == ({}, {})


def test_a_revision_reads_back_from_its_text() -> None:
    revision = Corrections(
        {PageKey("things", 0, 3): frozenset({1, 2}), PageKey("things", 2, 1): frozenset()},
        duplicates=2,
        late=(PageKey("things", 2, 1),),
        swept_again=2,
        recovered=1,
        changed=4,
        gone=3,
        settled=True,
    )
    assert Corrections.from_text("things", revision.to_text()) == revision
    assert revision.alters
    assert not Corrections({}, 0, swept_again=2, settled=True).alters


def rows_written(ballot: ConflictResolver, *occurrences: Occurrence) -> list[tuple[int, int, int]]:
    """Sweep, page and row of each that is written."""
    places = [
        (one.page.sweep, one.page.page, one.row)
        for one in occurrences
        if (one.page.sweep == 0 and one.row not in ballot.left_out.get(one.page, ()))
        or one.row in ballot.taken.get(one.page, ())
    ]
    return sorted(places)


def test_what_one_answer_shows_twice_is_written_twice_however_the_others_divide_it() -> None:
    first = [seen(0, 1, 1.0, 1), seen(0, 2, 2.0, 2)]
    later = [seen(sweep, 1, float(content), content, row=content) for sweep in (1, 2) for content in (1, 2)]
    ballot = ConflictResolver(2, drop_gone=True)
    ballot.decide([*first, *later])
    assert rows_written(ballot, *first, *later) == [(0, 1, 0), (0, 2, 0)]
    assert (ballot.duplicates, ballot.gone, ballot.recovered) == (0, 0, 0)


def test_two_contents_that_two_sweeps_show_one_after_the_other_are_two_records() -> None:
    sightings = [seen(sweep, page, float(page), page) for sweep in (0, 1, 2) for page in (1, 2)]
    ballot = ConflictResolver(2, drop_gone=False)
    ballot.decide(sightings)
    assert rows_written(ballot, *sightings) == [(0, 1, 0), (0, 2, 0)]


def test_a_record_that_changed_and_moved_within_a_sweep_is_one() -> None:
    sightings = [seen(0, 1, 1.0, 1), seen(0, 2, 2.0, 2), seen(1, 2, 2.0, 2), seen(2, 2, 2.0, 2)]
    ballot = ConflictResolver(2, drop_gone=False)
    ballot.decide(sightings)
    assert rows_written(ballot, *sightings) == [(0, 2, 0)]
    assert ballot.duplicates == 1


def test_twins_missed_by_the_first_sweep_are_taken_from_a_later_one_and_vanish_only_if_that_is_asked_for() -> None:
    sightings = [seen(0, 1, None, 1), seen(1, 1, None, 1, row=1), seen(1, 1, None, 2, row=2), seen(2, 1, None, 2)]
    ballot = ConflictResolver(2, drop_gone=False)
    ballot.decide(sightings)
    assert rows_written(ballot, *sightings) == [(0, 1, 0), (2, 1, 0)]
    assert (ballot.gone, ballot.recovered) == (1, 1)
    ballot = ConflictResolver(2, drop_gone=True)
    ballot.decide(sightings)
    assert rows_written(ballot, *sightings) == [(2, 1, 0)]


NAMELESS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 2)), max_size=20)


@given(NAMELESS)
def test_records_without_an_identity_are_written_as_often_as_a_sweep_showed_them(
    drawn: list[tuple[int, int, int]],
) -> None:
    sightings = [
        Occurrence(b"%d" % content, PageKey("things", sweep, page), row, None, content)
        for row, (sweep, page, content) in enumerate(drawn)
    ]
    shown = {content: [0, 0, 0] for _, _, content in drawn}
    for sweep, _, content in drawn:
        shown[content][sweep] += 1
    for drop_gone in (False, True):
        ballot = ConflictResolver(2, drop_gone)
        ballot.decide(sightings)
        written = Counter(drawn[row][2] for _, _, row in rows_written(ballot, *sightings))
        assert written == Counter(
            {content: counts[2] if drop_gone else max(counts) for content, counts in shown.items()}
        )
        assert ballot.gone == sum(max(counts) - counts[2] for counts in shown.values())


def test_pages_of_one_answer_repeat_nothing() -> None:
    sightings = [seen(sweep, page, None, page) for sweep in (0, 1) for page in (1, 2)]
    ballot = ConflictResolver(1, drop_gone=False, is_one_answer=True)
    ballot.decide(sightings)
    assert rows_written(ballot, *sightings) == [(0, 1, 0), (0, 2, 0)]
    assert ballot.duplicates == 0


def test_revisions_of_earlier_versions_are_read_and_those_that_can_be_made_anew_are_known() -> None:
    found = Corrections.from_text("things", "[[[0, 3, [1]]], [], [1, 0, 0, 0, 0, false]]")
    assert dict(found.left_out) == {PageKey("things", 0, 3): frozenset({1})}
    assert (found.duplicates, found.shared) == (1, 0)
    assert is_outdated("[[[0, 3, [1]]], [], [1, 0, 0, 0, 0, false]]")
    assert not is_outdated("[[[0, 3, [1]]], [], [1, 2, 0, 0, 0, true]]")
    assert not is_outdated(Corrections({}, 0, shared=2).to_text())
