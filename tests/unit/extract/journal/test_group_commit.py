"""Group commit: durable before it returns, many pages in one transaction, failures reach everybody."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import LocalFailure
from bulk_export.extract.journal import GroupCommit, JournalStore, StoredPage
from tests.support.disk_calls import counted, fail_at

BODY = b'{"data":[]}'


def page(number: int) -> StoredPage:
    return StoredPage(PageKey("things", 0, number), 0, "identity", len(BODY), BODY)


class SlowStore(JournalStore):
    """A journal whose transactions end when the test says so, and are counted."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, cap=1 << 20)
        self.gate = threading.Event()
        self.batches: list[int] = []

    def add_pages(self, pages: Iterable[StoredPage], requests: Mapping[str, int], facts: Mapping[str, str]) -> None:
        pages = list(pages)
        self.gate.wait(10)
        super().add_pages(pages, requests, facts)
        self.batches.append(len(pages))


async def test_append_is_durable(tmp_path: Path) -> None:
    """A page is in the journal when `append` returns."""
    store = JournalStore(tmp_path / "j", cap=1 << 20)
    async with GroupCommit(store) as journal:
        await journal.append(page(1), BODY)
        assert store.page_counts("things", 0) == [(1, 0)]
    store.close()


async def test_waiting_pages_share_a_transaction(tmp_path: Path) -> None:
    """Pages that arrive during a transaction share the next one."""
    store = SlowStore(tmp_path / "j")
    async with GroupCommit(store) as journal, anyio.create_task_group() as tasks:
        for number in range(1, 9):
            tasks.start_soon(journal.append, page(number), BODY)
        await anyio.wait_all_tasks_blocked()
        store.gate.set()
    assert sum(store.batches) == 8
    assert len(store.batches) <= 2
    store.close()


async def test_cancelled_caller_loses_no_pages(tmp_path: Path) -> None:
    """A cancelled caller does not lose the pages of others."""
    store = SlowStore(tmp_path / "j")
    async with GroupCommit(store) as journal, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(journal.append, page(1), BODY)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            store.gate.set()
        tasks.start_soon(journal.append, page(2), BODY)
    assert [number for number, _ in store.page_counts("things", 0)] == [1, 2]
    store.close()


async def test_failed_commit_fails_later_ones(tmp_path: Path) -> None:
    """Once a commit failed, nothing counts as stored any more."""
    store = JournalStore(tmp_path / "j", cap=1 << 20)
    async with GroupCommit(store) as journal:
        await journal.append(page(1), BODY)
        with counted(fail_at(1, errno.ENOSPC, lasting=False)), pytest.raises(LocalFailure):
            await journal.append(page(3), BODY)
        with pytest.raises(LocalFailure):
            await journal.append(page(2), BODY)
    assert store.page_counts("things", 0) == [(1, 0)]
    store.close()


async def test_later_page_replaces_earlier(tmp_path: Path) -> None:
    """A page that arrives again replaces the earlier one."""
    store = JournalStore(tmp_path / "j", cap=1 << 20)
    async with GroupCommit(store) as journal:
        for body in (BODY, BODY * 2):
            await journal.append(StoredPage(PageKey("things", 0, 1), len(body), "identity", len(body), body), body)
        assert journal.take_fresh(PageKey("things", 0, 1)) == BODY * 2
    assert store.page_counts("things", 0) == [(1, 2 * len(BODY))]
    assert store.body(PageKey("things", 0, 1)) == BODY * 2
    store.close()


async def test_counts_and_facts_without_page(tmp_path: Path) -> None:
    """Counts of requests and facts are stored even without a further page."""
    store = JournalStore(tmp_path / "j", cap=1 << 20)
    async with GroupCommit(store) as journal:
        journal.count_request("things")
        journal.count_request("things")
        journal.note("retries", "1")
    assert store.requests() == {"things": 2}
    assert store.fact("retries") == "1"
    store.close()


async def test_fresh_body_is_returned_once(tmp_path: Path) -> None:
    """The body of a page just stored is returned once."""
    store = JournalStore(tmp_path / "j", cap=1 << 20)
    async with GroupCommit(store) as journal:
        await journal.append(page(1), BODY)
        assert journal.take_fresh(page(1).key) == BODY
        assert journal.take_fresh(page(1).key) is None
    store.close()
