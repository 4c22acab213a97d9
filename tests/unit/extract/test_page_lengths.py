"""Which length is that of a full page."""

from __future__ import annotations

from bulk_export.extract.page_lengths import PageLengths
from bulk_export.extract.paging_facts import PagingFacts


def lengths(*, by_position: bool = False, known: PagingFacts | None = None) -> PageLengths:
    return PageLengths(300, known=known or PagingFacts(), by_position=by_position)


def test_two_pages_of_one_length_make_a_clamp() -> None:
    made = lengths()
    assert list(made.add(1, 77)) == []
    assert set(made.add(2, 77)) == {1, 2}
    assert (made.clamp, made.full_page(77), made.is_mixed) == (77, 77, False)
    assert made.is_full(2, 77, 77)


def test_below_longer_pages_only_usual_caps_are_clamps() -> None:
    made = lengths()
    made.add(1, 300)
    for page, length in enumerate([77, 77, 100, 100], start=2):
        made.add(page, length)
    assert (made.clamp, made.is_mixed) == (100, True)


def test_by_position_three_equal_pages_are_needed() -> None:
    """Gaps between pages may be of any length; the first page tells how long the others are."""
    made = lengths(by_position=True)
    made.add(1, 80)
    made.add(2, 77)
    assert list(made.add(3, 77)) == []
    assert set(made.add(4, 77)) == {2, 3, 4}
    assert made.full_page(80) == 80


def test_as_short_again_is_a_clamp() -> None:
    """A page in the middle that has the same length again was cut."""
    made = lengths()
    made.add(1, 77)
    assert set(made.repeat(77)) == {1}
    assert made.clamp == 77


def test_a_cut_page_is_checked_unless_the_clamp_was_known() -> None:
    for known, page in ((PagingFacts(), 1), (PagingFacts(clamp=100), None)):
        made = lengths(known=known)
        made.add(1, 100)
        made.add(2, 100)
        assert made.cut_page() == page


def test_a_full_page_is_no_clamp() -> None:
    made = lengths()
    made.add(1, 300)
    made.add(2, 300)
    assert (made.clamp, made.full_page(300), made.longest) == (None, 300, 300)
