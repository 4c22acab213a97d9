"""Makes pages durable off the event loop, many in one transaction if many arrive at once."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from bulk_export.core.model import PageKey
from bulk_export.extract.journal.entries import StoredPage
from bulk_export.extract.journal.store import JournalStore
from bulk_export.transform.decode import Body

logger = logging.getLogger(__name__)

# Bodies of pages just stored are kept in memory up to this size, so that conversion rarely reads them back.
_RECENT_BYTES = 12 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Waiting:
    """The pages of one caller, and whether they are durable."""

    pages: Iterable[StoredPage]
    is_stored: bool = False


class GroupCommit:
    """Appends to a journal from many tasks; use it as an async context manager around them.

    A commit costs a sync of the disk, whatever the number of its pages. So a caller of `append`

    1. puts its pages on the list of the next transaction;
    2. waits until no transaction is running;
    3. finds its pages stored, because another caller's transaction took the whole list; or else
    4. commits the list itself, with the pages of everybody who is waiting.

    A commit is shielded: cancelling the caller that happens to run it must not lose the pages of others. Once a commit
    has failed, every further call fails the same way, since nobody knows what is on disk. The list is bounded by the
    number of callers, since each waits for its own pages.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._waiting: list[_Waiting] = []
        self._requests: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._committing = anyio.Lock(fast_acquire=True)
        self._failure: BaseException | None = None
        self._recent: dict[PageKey, Body] = {}
        self._recent_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failure is None and (self._waiting or self._requests or self._facts):
            with anyio.CancelScope(shield=True):
                await self._commit()

    def count_request(self, endpoint: str) -> None:
        """Count one more request for an endpoint; the count is stored with the next commit."""
        self._requests[endpoint] += 1

    def note(self, name: str, value: str) -> None:
        """Set a fact, which is stored with the next commit."""
        self._facts[name] = value

    async def append(self, page: StoredPage, body: Body) -> None:
        """Store a page; it is durable when this returns.

        Args:
            page: The page.
            body: Its decompressed body, kept in memory for `take_fresh` if there is room.

        Raises:
            LocalFailure: It could not be stored; every later call raises the same.
        """
        self.take_fresh(page.key)
        if self._recent_bytes + len(body) <= _RECENT_BYTES:
            self._recent[page.key] = body
            self._recent_bytes += len(body)
        await self.append_together([page])

    async def append_together(self, pages: Iterable[StoredPage]) -> None:
        """Store pages that are of no use without each other, all or none; they are made one at a time.

        Raises:
            LocalFailure: They could not be stored; every later call raises the same.
        """
        waiting = _Waiting(pages)
        self._waiting.append(waiting)
        async with self._committing:
            if not waiting.is_stored:
                with anyio.CancelScope(shield=True):
                    await self._commit()

    def take_fresh(self, key: PageKey) -> Body | None:
        """Return the decompressed body of a page stored a moment ago, once; None if it is not in memory."""
        body = self._recent.pop(key, None)
        if body is not None:
            self._recent_bytes -= len(body)
        return body

    async def _commit(self) -> None:
        if self._failure is not None:
            raise self._failure
        batch, self._waiting = self._waiting, []
        requests, self._requests = self._requests, Counter()
        facts, self._facts = self._facts, {}
        pages = itertools.chain.from_iterable(waiting.pages for waiting in batch)
        try:
            await anyio.to_thread.run_sync(self._store.add_pages, pages, requests, facts)
        except BaseException as failure:
            self._failure = failure
            raise
        for waiting in batch:
            waiting.is_stored = True
        logger.debug("Committed the pages of %d callers in one transaction", len(batch))
