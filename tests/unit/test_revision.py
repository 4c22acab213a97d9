"""Which sighting of a record is written, and what is remembered of the decision."""

from __future__ import annotations

from bulk_export.duplicates import Occurrence
from bulk_export.model import PageKey
from bulk_export.revision import Ballot, Revision


def seen(sweep: int, page: int, version: float | None, content: int, identity: str = "a", row: int = 0) -> Occurrence:
    return Occurrence(identity, PageKey("things", sweep, page), row, version, content)


def written(*occurrences: Occurrence, last: int = 2, drop_gone: bool = False) -> tuple[Ballot, tuple[int, int] | None]:
    """The ballot, and the sweep and page that are written from."""
    ballot = Ballot(last, drop_gone)
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
    ballot = Ballot(1, drop_gone=False)
    ballot.decide([seen(sweep, 1, 1, 1, identity, row) for sweep in (0, 1) for row, identity in enumerate("ab")])
    assert (ballot.left_out, ballot.taken) == ({}, {})


def test_a_revision_reads_back_from_its_text() -> None:
    revision = Revision(
        {PageKey("things", 0, 3): frozenset({1, 2}), PageKey("things", 2, 1): frozenset()},
        duplicates=2,
        late=(PageKey("things", 2, 1),),
        swept_again=2,
        recovered=1,
        changed=4,
        gone=3,
        settled=True,
    )
    assert Revision.from_text("things", revision.to_text()) == revision
    assert revision.alters
    assert not Revision({}, 0, swept_again=2, settled=True).alters
