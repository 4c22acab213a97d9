"""What is remembered of paging: which short page is believed, and what damaged text becomes."""

from __future__ import annotations

import pytest

from bulk_export.extract.paging_facts import PagingFacts, is_round


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"longest":-1}', '{"checked":[[1]]}', '{"records":1e99}', "9"]
)
def test_damaged_facts_are_empty(text: str) -> None:
    """Stored facts that are damaged are no knowledge, and no error."""
    assert PagingFacts.from_text(text) == PagingFacts()


def test_round_lengths_are_those_of_usual_caps() -> None:
    assert [length for length in range(1, 300) if is_round(length, 300)] == [
        *(10, 16, 20, 25, 30, 32, 40, 50, 64, 100, 128, 150, 200, 250, 256),
    ]
    assert is_round(1_000, 3_000)
    assert not is_round(300, 300)


@pytest.mark.parametrize(
    ("facts", "length", "found", "is_believed"),
    [
        (PagingFacts(), 299, 299, False),
        (PagingFacts(longest=300), 299, 299, True),
        (PagingFacts(longest=300), 100, 100, False),
        (PagingFacts(longest=300, checked=((300, 100),)), 100, 100, True),
        (PagingFacts(checked=((300, 100),)), 100, 100, False),
        (PagingFacts(records=299), 299, 299, True),
        (PagingFacts(longest=300, records=500), 299, 299, False),
    ],
)
def test_which_short_page_is_believed(facts: PagingFacts, length: int, found: int, *, is_believed: bool) -> None:
    """To be the last one, without requesting the next."""
    assert facts.believes(asked=300, length=length, found=found) is is_believed
