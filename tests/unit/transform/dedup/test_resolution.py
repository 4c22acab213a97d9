"""Which occurrence of a record is written, and what the journal keeps of the decision."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bulk_export.core.model import PageKey
from bulk_export.transform.dedup.resolution import (
    ConflictResolver,
    Corrections,
    Occurrence,
    Repeats,
    is_outdated,
    rows_to_exclude,
)


def seen(sweep: int, page: int, version: float | None, content: int, identity: str = "a", row: int = 0) -> Occurrence:
    return Occurrence(identity, PageKey("things", sweep, page), row, version, content)


def written(
    *occurrences: Occurrence, last: int = 2, drop_gone: bool = False
) -> tuple[ConflictResolver, tuple[int, int] | None]:
    """The resolver, and the sweep and page that are written from."""
    resolver = ConflictResolver(last, drop_gone)
    resolver.resolve(occurrences)
    kept = [one for one in occurrences if one.page.sweep == 0 and one.row not in resolver.excluded.get(one.page, ())]
    chosen = [one for one in occurrences if one.row in resolver.chosen.get(one.page, ())]
    assert len(kept) + len(chosen) <= 1
    return resolver, next(((one.page.sweep, one.page.page) for one in kept + chosen), None)


def test_newest_version_is_written() -> None:
    """The newest version is written, whichever sweep saw it."""
    assert written(seen(0, 1, 5, 1), seen(1, 1, 3, 2), seen(2, 1, 4, 3))[1] == (0, 1)
    resolver, page = written(seen(0, 1, 1, 1), seen(1, 1, 3, 2), seen(2, 1, 3, 2))
    assert page == (1, 1)
    assert (resolver.changed, resolver.recovered, resolver.duplicates, resolver.gone) == (1, 0, 0, 0)


def test_latest_content_without_versions() -> None:
    """If versions are equal or unknown, the content that was seen last is written."""
    assert written(seen(0, 1, 1, 1), seen(1, 1, 1, 2), seen(2, 1, 1, 2))[1] == (1, 1)
    assert written(seen(0, 1, None, 1), seen(1, 1, None, 1), seen(2, 1, None, 9))[1] == (2, 1)


def test_first_of_equals_in_the_first_sweep() -> None:
    """Within the first sweep, the first of equals is written and the others are duplicates."""
    resolver, page = written(seen(0, 1, 1, 1), seen(0, 2, 1, 1), seen(1, 1, 1, 1), last=1)
    assert page == (0, 1)
    assert (resolver.duplicates, resolver.changed) == (1, 0)


def test_missed_record_is_recovered() -> None:
    """A record that only a further sweep saw is written from there, and counted."""
    resolver, page = written(seen(1, 4, 1, 1), seen(2, 4, 1, 1))
    assert page == (1, 4)
    assert resolver.recovered == 1


def test_gone_record_is_kept_or_dropped() -> None:
    """A record that the last sweep did not see is gone: written, or not with `drop_gone`."""
    resolver, page = written(seen(0, 1, 1, 1), seen(1, 1, 1, 1))
    assert (resolver.gone, page) == (1, (0, 1))
    resolver, page = written(seen(0, 1, 1, 1), seen(1, 1, 1, 1), drop_gone=True)
    assert (resolver.gone, page) == (1, None)
    resolver, page = written(seen(1, 1, 1, 1), drop_gone=True)
    assert (resolver.gone, resolver.recovered, page) == (1, 0, None)


def test_equal_fingerprints_are_told_apart() -> None:
    """Records of different ids are not confused if their fingerprints are equal."""
    resolver = ConflictResolver(1, drop_gone=False)
    resolver.resolve([seen(sweep, 1, 1, 1, identity, row) for sweep in (0, 1) for row, identity in enumerate("ab")])
    assert (resolver.excluded, resolver.chosen) == ({}, {})


def test_corrections_round_trip() -> None:
    revision = Corrections(
        {PageKey("things", 0, 3): frozenset({1, 2}), PageKey("things", 2, 1): frozenset()},
        duplicates=2,
        extra_pages=(PageKey("things", 2, 1),),
        swept_again=2,
        recovered=1,
        changed=4,
        gone=3,
        settled=True,
    )
    assert Corrections.from_text("things", revision.to_text()) == revision
    assert revision.change_rows
    assert not Corrections({}, 0, swept_again=2, settled=True).change_rows


def rows_written(resolver: ConflictResolver, *occurrences: Occurrence) -> list[tuple[int, int, int]]:
    """Sweep, page and row of each that is written."""
    rows = [
        (one.page.sweep, one.page.page, one.row)
        for one in occurrences
        if (one.page.sweep == 0 and one.row not in resolver.excluded.get(one.page, ()))
        or one.row in resolver.chosen.get(one.page, ())
    ]
    return sorted(rows)


def test_shared_id_in_one_response() -> None:
    """What one response shows twice is written twice, however other sweeps divide it into responses."""
    first = [seen(0, 1, 1.0, 1), seen(0, 2, 2.0, 2)]
    later = [seen(sweep, 1, float(content), content, row=content) for sweep in (1, 2) for content in (1, 2)]
    resolver = ConflictResolver(2, drop_gone=True)
    resolver.resolve([*first, *later])
    assert rows_written(resolver, *first, *later) == [(0, 1, 0), (0, 2, 0)]
    assert (resolver.duplicates, resolver.gone, resolver.recovered) == (0, 0, 0)


def test_same_two_contents_in_two_sweeps() -> None:
    """Two contents that two sweeps show one after the other are two records."""
    occurrences = [seen(sweep, page, float(page), page) for sweep in (0, 1, 2) for page in (1, 2)]
    resolver = ConflictResolver(2, drop_gone=False)
    resolver.resolve(occurrences)
    assert rows_written(resolver, *occurrences) == [(0, 1, 0), (0, 2, 0)]


def test_changed_and_moved_record_is_one() -> None:
    occurrences = [seen(0, 1, 1.0, 1), seen(0, 2, 2.0, 2), seen(1, 2, 2.0, 2), seen(2, 2, 2.0, 2)]
    resolver = ConflictResolver(2, drop_gone=False)
    resolver.resolve(occurrences)
    assert rows_written(resolver, *occurrences) == [(0, 2, 0)]
    assert resolver.duplicates == 1


def test_missed_copies_come_from_later_sweeps() -> None:
    """Records with a shared id that the first sweep missed come from a later one; gone ones are dropped only with
    `drop_gone`.
    """
    occurrences = [seen(0, 1, None, 1), seen(1, 1, None, 1, row=1), seen(1, 1, None, 2, row=2), seen(2, 1, None, 2)]
    resolver = ConflictResolver(2, drop_gone=False)
    resolver.resolve(occurrences)
    assert rows_written(resolver, *occurrences) == [(0, 1, 0), (2, 1, 0)]
    assert (resolver.gone, resolver.recovered) == (1, 1)
    resolver = ConflictResolver(2, drop_gone=True)
    resolver.resolve(occurrences)
    assert rows_written(resolver, *occurrences) == [(2, 1, 0)]


NAMELESS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 2)), max_size=20)


@given(NAMELESS)
def test_records_without_id_by_count(
    drawn: list[tuple[int, int, int]],
) -> None:
    """Records without an identity are written as often as one sweep showed them."""
    occurrences = [
        Occurrence(b"%d" % content, PageKey("things", sweep, page), row, None, content)
        for row, (sweep, page, content) in enumerate(drawn)
    ]
    shown = {content: [0, 0, 0] for _, _, content in drawn}
    for sweep, _, content in drawn:
        shown[content][sweep] += 1
    for drop_gone in (False, True):
        resolver = ConflictResolver(2, drop_gone)
        resolver.resolve(occurrences)
        written = Counter(drawn[row][2] for _, _, row in rows_written(resolver, *occurrences))
        assert written == Counter(
            {content: counts[2] if drop_gone else max(counts) for content, counts in shown.items()}
        )
        assert resolver.gone == sum(max(counts) - counts[2] for counts in shown.values())


def test_one_response_repeats_nothing() -> None:
    """With all pages from one response, two records of one id are two records."""
    occurrences = [seen(sweep, page, None, page) for sweep in (0, 1) for page in (1, 2)]
    resolver = ConflictResolver(1, drop_gone=False, is_one_response=True)
    resolver.resolve(occurrences)
    assert rows_written(resolver, *occurrences) == [(0, 1, 0), (0, 2, 0)]
    assert resolver.duplicates == 0


def test_corrections_of_earlier_versions() -> None:
    """Corrections of earlier versions are read, and those that can be made again are known."""
    found = Corrections.from_text("things", "[[[0, 3, [1]]], [], [1, 0, 0, 0, 0, false]]")
    assert dict(found.excluded) == {PageKey("things", 0, 3): frozenset({1})}
    assert (found.duplicates, found.shared) == (1, 0)
    assert is_outdated("[[[0, 3, [1]]], [], [1, 0, 0, 0, 0, false]]")
    assert not is_outdated("[[[0, 3, [1]]], [], [1, 2, 0, 0, 0, true]]")
    assert not is_outdated(Corrections({}, 0, shared=2).to_text())


def page(number: int) -> PageKey:
    return PageKey("things", 0, number)


def test_all_but_the_newest_are_excluded() -> None:
    """The newest version stays, and the first of equal ones."""
    rows = [
        Occurrence("a", page(1), 5, 10.0),
        Occurrence("a", page(2), 0, 11.0),
        Occurrence("a", page(3), 0, 11.0),
        Occurrence("b", page(1), 6, None),
        Occurrence("b", page(2), 1, None),
        Occurrence("c", page(2), 2, None),
        Occurrence("c", page(3), 1, 1.0),
    ]
    found = rows_to_exclude(rows)
    assert found.excluded == {page(1): {5}, page(2): {1, 2}, page(3): {0}}
    assert (found.duplicates, found.shared) == (4, 0)


def kept(rows: list[Occurrence], found: Repeats) -> list[Occurrence]:
    return [one for one in rows if one.row not in found.excluded.get(one.page, ())]


VERSIONS = st.none() | st.floats(0, 5)
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), VERSIONS, st.integers(0, 2)), max_size=20)


@given(ROWS)
def test_each_id_stays_once_in_any_order(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    """Each id stays exactly once, in its newest version, whatever the order of the occurrences."""
    once = {(name, number): (name, number, version, content) for name, number, version, content in drawn}
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate(once.values())]
    found = rows_to_exclude(rows)
    assert rows_to_exclude(reversed(rows)) == found
    left = kept(rows, found)
    assert sorted(one.id for one in left) == sorted({one.id for one in rows})
    assert (found.shared, found.duplicates) == (0, len(rows) - len(left))
    for one in left:
        versions = [other.version for other in rows if other.id == one.id and other.version is not None]
        assert one.version == max(versions, default=None)


@given(ROWS)
def test_shared_ids_exclude_only_repetitions(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    """What a page shows twice are two records; then only repetitions on other pages are excluded."""
    twins = [("twin", 1, None, 7), ("twin", 1, None, 8), ("twin", 1, None, 8)]
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate([*twins, *drawn])]
    found = rows_to_exclude(rows)
    assert rows_to_exclude(reversed(rows)) == found
    on_a_page = Counter((one.page, one.id, one.content) for one in rows)
    proven: Counter[tuple[object, int]] = Counter()
    for (_, name, content), count in on_a_page.items():
        proven[name, content] = max(proven[name, content], count)
    assert Counter((one.id, one.content) for one in kept(rows, found)) == proven
    assert found.shared >= 3
    assert found.duplicates == len(rows) - sum(proven.values())


@given(ROWS)
def test_records_without_id_are_all_kept(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    """Records without an identity are all written, and those shown again are counted."""
    rows = [
        Occurrence.of(f"{name}{content}".encode(), page(number), row, version, content)
        for row, (name, number, version, content) in enumerate(drawn)
    ]
    found = rows_to_exclude(rows)
    assert (found.excluded, found.shared) == ({}, 0)
    pages = Counter((one.id, one.page) for one in rows)
    proven = {name: max(count for (other, _), count in pages.items() if other == name) for name, _ in pages}
    assert found.duplicates == len(rows) - sum(proven.values())
    assert found.unexplained == (found.duplicates > 0)


@given(ROWS)
def test_one_response_excludes_nothing(
    drawn: list[tuple[str, int, float | None, int]],
) -> None:
    """Nothing in one response is a repetition, however many pages it was cut into."""
    rows = [Occurrence(name, page(number), row, *rest) for row, (name, number, *rest) in enumerate(drawn)]
    found = rows_to_exclude(rows, is_one_response=True)
    counts = Counter(one.id for one in rows)
    assert found == Repeats({}, 0, sum(count for count in counts.values() if count > 1), unexplained=False)


def test_repeat_without_update_is_unexplained() -> None:
    """A record on two pages that does not say it was updated in between is noticed."""
    updated = [Occurrence("a", page(1), 0, 1.0, 5), Occurrence("a", page(2), 0, 2.0, 6)]
    assert not rows_to_exclude(updated).unexplained
    assert rows_to_exclude([*updated, Occurrence("a", page(3), 0, 2.0, 6)]).unexplained
    assert rows_to_exclude([*updated, Occurrence("a", page(3), 0, 2.0, 7)]).unexplained
    assert rows_to_exclude([Occurrence("a", page(1), 0, None, 5), Occurrence("a", page(2), 0, None, 6)]).unexplained
