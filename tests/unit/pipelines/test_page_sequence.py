"""The order in which pages are converted."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.pipelines.page_sequence import BLOCK_RECORDS, PageSequence, pages_per_block
from tests.support.stored_pages import PAGE_SIZE, PARTNERS, complete_sweep, full_pages, open_store, store_pages

NAME = PARTNERS.name


@pytest.mark.parametrize(("page_size", "pages"), [(1, 3_000), (300, 10), (2_000, 1), (3_000, 1), (50_000, 1)])
def test_a_block_has_some_thousand_records(page_size: int, pages: int) -> None:
    """A block is a bounded number of records, and at least one page."""
    assert pages_per_block(page_size) == pages
    assert BLOCK_RECORDS == 3_000


def test_extra_pages_follow_the_first_sweep(tmp_path: Path) -> None:
    """Pages of further sweeps stand behind the last page, and count as full."""
    store = open_store(tmp_path)
    store_pages(store, full_pages(25))
    extra = (PageKey(NAME, 1, 4), PageKey(NAME, 2, 1))
    pages = PageSequence(complete_sweep(store), extra, extra_size=3_000)
    assert pages.last() == 5
    block = pages.next_block(2)
    assert [(slot.key, slot.ordinal, slot.records) for slot in block] == [
        (PageKey(NAME, 0, 3), 3, 5),
        (extra[0], 4, 3_000),
        (extra[1], 5, 3_000),
    ]
    assert pages.next_block(5) == []
    assert [pages.is_done(ordinal) for ordinal in (4, 5)] == [False, True]
    store.close()


def test_blocks_cover_all_pages_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store_pages(store, full_pages(PAGE_SIZE * 700))
    pages = PageSequence(complete_sweep(store), (), extra_size=PAGE_SIZE)
    done, ordinals = 0, []
    while block := pages.next_block(done):
        ordinals += [slot.ordinal for slot in block]
        assert len(block) <= pages.block_pages
        done = ordinals[-1]
    assert ordinals == list(range(1, 701))
    store.close()
