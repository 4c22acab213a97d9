"""Makes pages durable off the event loop, many in one transaction when many arrive at once."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from bulk_export.core.model import PageKey
from bulk_export.extract.journal.entries import StoredPage
from bulk_export.extract.journal.store import JournalStore
from bulk_export.transform.decode import Body

# Pages just stored stay at hand up to this size, so that conversion rarely reads them back.
_FRESH_BYTES = 12 * 1024 * 1024


class GroupCommit:
    """Appends to a journal from many tasks; use as an async context manager around them.

    While one transaction is being synced, the pages that arrive wait and go into the next together. The
    number of pages waiting is bounded by the number of callers, since each waits for its own.
    """

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        self._waiting: list[tuple[Iterable[StoredPage], anyio.Event]] = []
        self._requests: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._turn = anyio.Lock(fast_acquire=True)
        self._failure: BaseException | None = None
        self._fresh: dict[PageKey, Body] = {}
        self._fresh_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._failure is None and (self._waiting or self._requests or self._facts):
            with anyio.CancelScope(shield=True):
                await self._commit()

    def count_request(self, endpoint: str) -> None:
        """One more request was sent for `endpoint`; kept with the next commit."""
        self._requests[endpoint] += 1

    def note(self, name: str, value: str) -> None:
        """A named text to be kept with the next commit."""
        self._facts[name] = value

    async def append(self, page: StoredPage, body: Body) -> None:
        """Store a page whose inflated body is `body`; it is durable when this returns.

        Raises LocalFailure where it could not be stored, to every caller from then on.
        """
        self.take_fresh(page.key)
        if self._fresh_bytes + len(body) <= _FRESH_BYTES:
            self._fresh[page.key] = body
            self._fresh_bytes += len(body)
        await self.append_together([page])

    async def append_together(self, pages: Iterable[StoredPage]) -> None:
        """Store pages that are of no use without each other, all or none; they are made one at a time.

        Raises LocalFailure as `append` does.
        """
        stored = anyio.Event()
        self._waiting.append((pages, stored))
        async with self._turn:
            if not stored.is_set():
                with anyio.CancelScope(shield=True):
                    await self._commit()

    def take_fresh(self, key: PageKey) -> Body | None:
        """The inflated body of a page stored a moment ago, once, where it is still at hand."""
        body = self._fresh.pop(key, None)
        if body is not None:
            self._fresh_bytes -= len(body)
        return body

    async def _commit(self) -> None:
        if self._failure is not None:
            raise self._failure
        batch, self._waiting = self._waiting, []
        requests, self._requests = self._requests, Counter()
        facts, self._facts = self._facts, {}
        try:
            await anyio.to_thread.run_sync(
                self._store.add_pages, itertools.chain.from_iterable(pages for pages, _ in batch), requests, facts
            )
        except BaseException as failure:
            self._failure = failure
            raise
        for _, stored in batch:
            stored.set()
