"""The checks that there are."""

from __future__ import annotations

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.checks.queries import CHECKS, TABLES, UNCLEAR_CHANGES, Check, find_check


def test_a_check_is_found_by_name() -> None:
    assert [find_check(check.name) for check in CHECKS] == list(CHECKS)
    assert find_check("unclear") is UNCLEAR_CHANGES


def test_an_unknown_check_is_refused() -> None:
    """The error names those that can be chosen."""
    with pytest.raises(UsageError, match="no check 'everything'") as refused:
        find_check("everything")
    assert "undecided, changed, unlinked" in refused.value.next_step


@pytest.mark.parametrize("check", [*CHECKS, UNCLEAR_CHANGES], ids=lambda check: check.name)
def test_the_sql_uses_the_tables_that_are_needed(check: Check) -> None:
    assert check.needs.keys() <= TABLES.keys()
    assert all(name in check.sql for name in check.needs)
    assert ("applications_changes" in check.sql) == check.needs_history
    assert not check.sql.endswith(";")
