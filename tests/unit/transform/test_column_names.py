"""Names that some reader takes for one are not two columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.transform.column_names import can_name_a_column, comparison_key, distinct_names, unused_name

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
FEW_NAMES = st.lists(
    st.sampled_from(["a", "A", "b", "B_", "é", "e\u0301", "ﬀ", "ff", "İ", "i", "\u0131", "K", "k"]), max_size=12
)
WAYS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    str.casefold,
    str.swapcase,
    *((lambda name, form=form: unicodedata.normalize(form, name)) for form in ("NFC", "NFD", "NFKC", "NFKD")),
]


@given(NAMES, st.sampled_from(WAYS))
def test_key_ignores_case_and_normal_form(name: str, way: Callable[[str], str]) -> None:
    """A name has the same comparison key in another case or Unicode normal form."""
    assert comparison_key(way(name)) == comparison_key(name)


@given(NAMES)
def test_key_of_a_key_is_itself(name: str) -> None:
    assert comparison_key(comparison_key(name)) == comparison_key(name)


@given(FEW_NAMES, FEW_NAMES)
def test_first_of_similar_names_is_kept(names: list[str], taken: list[str]) -> None:
    """Of names that some reader takes for the same, the first is kept; every other one resembles a kept or reserved
    name.
    """
    kept = distinct_names(names, taken)
    assert len(set(map(comparison_key, [*kept, *taken]))) == len(kept) + len(set(map(comparison_key, taken)))
    assert {comparison_key(name) for name in [*names, *taken]} == {comparison_key(name) for name in [*kept, *taken]}
    firsts = {comparison_key(name): name for name in reversed(names)}
    assert kept == [firsts[comparison_key(name)] for name in kept]
    assert distinct_names(kept, taken) == kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("id", "ID"),
        ("type", "Type"),
        ("_extra", "_Extra"),
        ("straße", "STRASSE"),
        ("é", "e\u0301"),
        ("\u0131", "I"),
        ("İ", "i"),
    ],
)
def test_names_some_reader_confuses(one: str, other: str) -> None:
    assert distinct_names([one, other]) == [one]


@pytest.mark.parametrize("one", ["ids", "i d", "i.d", "id_", "1d"])
def test_names_all_readers_tell_apart_are_kept(one: str) -> None:
    assert distinct_names(["id", one]) == ["id", one]


@pytest.mark.parametrize("name", ["", "back`tick", "nul\0", "half \ud800"])
def test_names_that_break_readers_name_no_column(name: str) -> None:
    assert not can_name_a_column(name)


@pytest.mark.parametrize(
    "name", ["a", "/change", 'quo"te', "apos'", "d.ot", "a b", "😀", "x" * 300, "new\nline", "%", "[]"]
)
def test_odd_but_usable_names_name_columns(name: str) -> None:
    assert can_name_a_column(name)


@given(FEW_NAMES)
def test_unused_name_differs_from_all_others(others: list[str]) -> None:
    assert comparison_key(unused_name("a", others)) not in set(map(comparison_key, others))
