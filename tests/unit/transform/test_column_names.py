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
def test_a_name_compares_equal_to_itself_in_another_case_or_normal_form(name: str, way: Callable[[str], str]) -> None:
    assert comparison_key(way(name)) == comparison_key(name)


@given(NAMES)
def test_what_is_compared_compares_equal_to_itself(name: str) -> None:
    assert comparison_key(comparison_key(name)) == comparison_key(name)


@given(FEW_NAMES, FEW_NAMES)
def test_of_names_alike_the_first_is_kept_and_the_others_are_those_that_are_like_it(
    names: list[str], taken: list[str]
) -> None:
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
def test_examples_of_names_alike(one: str, other: str) -> None:
    assert distinct_names([one, other]) == [one]


@pytest.mark.parametrize("one", ["ids", "i d", "i.d", "id_", "1d"])
def test_names_that_every_reader_tells_apart_are_both_kept(one: str) -> None:
    assert distinct_names(["id", one]) == ["id", one]


@pytest.mark.parametrize("name", ["", "back`tick", "nul\0", "half \ud800"])
def test_names_that_some_reader_cannot_find_again_name_no_column(name: str) -> None:
    assert not can_name_a_column(name)


@pytest.mark.parametrize(
    "name", ["a", "/change", 'quo"te', "apos'", "d.ot", "a b", "😀", "x" * 300, "new\nline", "%", "[]"]
)
def test_odd_names_that_all_readers_find_again_name_columns(name: str) -> None:
    assert can_name_a_column(name)


@given(FEW_NAMES)
def test_a_name_is_made_unlike_all_others(others: list[str]) -> None:
    assert comparison_key(unused_name("a", others)) not in set(map(comparison_key, others))
