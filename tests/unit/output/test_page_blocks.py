"""Pages become blocks of rows that may be written, and nothing else does."""

from __future__ import annotations

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, SchemaDrift
from bulk_export.output.page_blocks import PageBody
from tests.support.stored_pages import PARTNERS, body, page_blocks, page_bodies, record


def test_excluded_rows_are_not_in_a_block() -> None:
    """Rows are excluded by page; the identities of the others keep their order."""
    second = page_bodies(20)[1].key
    block = page_blocks(excluded={second: frozenset({0, 9})}).block(page_bodies(20))
    assert list(block.ids) == [f"{number:08}" for number in (*range(10), *range(11, 19))]


def test_an_excluded_row_must_exist() -> None:
    (page,) = page_bodies(5)
    with pytest.raises(DamagedState, match="that page 1 does not hold"):
        page_blocks(excluded={page.key: frozenset({5})}).block([page])


def test_counts_must_be_those_of_the_journal() -> None:
    """A page of the first sweep with another number of records than the journal says is refused."""
    (page,) = page_bodies(5)
    with pytest.raises(DamagedState, match="holds 5 records, and the journal says 6"):
        page_blocks().block([PageBody(page.key, 1, 6, page.body)])
    further = PageKey(PARTNERS.name, 1, 1)
    assert len(page_blocks().block([PageBody(further, 1, 6, page.body)]).ids) == 5


def test_strict_names_the_page_with_drift() -> None:
    """A strict conversion names the page of the first record that holds an attribute beyond the description."""
    first, second = page_bodies(15)
    drifted = PageBody(second.key, 2, 1, body([record(1, height=2)]))
    with pytest.raises(SchemaDrift, match=r"height.*page 2"):
        page_blocks(is_strict=True).block([first, drifted])
    assert len(page_blocks().block([first, drifted]).ids) == 11
