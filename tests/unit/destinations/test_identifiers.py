"""Names of tables and columns: one rule, and no two that a database takes for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.destinations.identifiers import child_table_name, fitted_names, table_name
from bulk_export.errors import UsageError

NAMES = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), unique=True, max_size=8)


def test_table_of_an_endpoint() -> None:
    """An endpoint's name becomes an identifier, behind the prefix."""
    assert table_name("participants-npq-outcomes", "dfe_") == "dfe_participants_npq_outcomes"
    assert child_table_name("participants_npq", "npq_enrolments") == "participants_npq_npq_enrolments"


def test_long_names_are_cut() -> None:
    """A long name keeps its beginning, and its hash tells it from others with the same beginning."""
    one, other = "a" * 70, "a" * 71
    fitted = fitted_names({one: one, other: other}, 63)
    assert fitted[one].startswith("a" * 54)
    assert len(set(fitted.values())) == 2
    assert all(len(name) == 63 for name in fitted.values())


def test_names_that_differ_in_case_only() -> None:
    """The first keeps its name."""
    fitted = fitted_names({"Email": "Email", "email": "email"}, 63)
    assert fitted["Email"] == "Email"
    assert fitted["email"].startswith("email_")


def test_equal_names_of_different_things() -> None:
    """Two endpoints, or an endpoint and a column of another one, never share a table."""
    fitted = fitted_names({"a-b": "a_b", "a_b": "a_b", "a/b": "a_b"}, 63)
    assert fitted["a-b"] == "a_b"
    assert len(set(fitted.values())) == 3


@given(NAMES)
def test_fitted_names_are_distinct(names: list[str]) -> None:
    """Whatever the names, identifiers fit and are distinct without regard to case."""
    fitted = fitted_names({name: name for name in names}, 20)
    assert list(fitted) == names
    assert all(0 < len(identifier.encode()) <= 20 for identifier in fitted.values())
    assert len({identifier.casefold() for identifier in fitted.values()}) == len(names)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_impossible_names(name: str) -> None:
    """A name that no database takes is refused."""
    with pytest.raises(UsageError):
        fitted_names({name: name}, 63)
