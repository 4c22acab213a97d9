"""Turns a blocking `Ledger` into an `AsyncLedger`: called directly if it never waits, or in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Self, TypeVar

from bulk_export.extract.rate_limit.interface import Granted, Ledger, RequestOutcome, Wait
from bulk_export.extract.rate_limit.retry_after import RetryAfter

P = ParamSpec("P")
T = TypeVar("T")


class InlineAsyncLedger:
    """Calls a ledger that never waits, as the one in memory, directly on the event loop."""

    never_waits = True

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""
        return self._ledger.claim(identity)

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`."""
        self._ledger.release(identity, outcome)

    async def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`."""
        return self._ledger.report_throttled(identity, retry_after)

    async def leave_queue(self) -> None:
        """As `Ledger.leave_queue`."""
        self._ledger.leave_queue()

    async def close(self) -> None:
        """As `Ledger.close`."""
        self._ledger.close()


class ThreadedAsyncLedger:
    """Calls a ledger that blocks in one thread, in the order of the calls.

    A step that was submitted is carried out even if its caller is cancelled: otherwise a request could be on record and
    never be released.
    """

    never_waits = False

    def __init__(self, ledger: Ledger, thread: ThreadPoolExecutor) -> None:
        self._ledger = ledger
        self._thread = thread

    @classmethod
    async def open(cls, open_ledger: Callable[[], Ledger]) -> Self:
        """Open a ledger in the thread that will use it. Raises what `open_ledger` raises."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="budget")
        try:
            return cls(await _run(thread, open_ledger), thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""
        return await _run(self._thread, self._ledger.claim, identity)

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`."""
        await _run(self._thread, self._ledger.release, identity, outcome)

    async def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`."""
        return await _run(self._thread, self._ledger.report_throttled, identity, retry_after)

    async def leave_queue(self) -> None:
        """As `Ledger.leave_queue`."""
        await _run(self._thread, self._ledger.leave_queue)

    async def close(self) -> None:
        """Close the ledger, and end the thread."""
        try:
            await _run(self._thread, self._ledger.close)
        finally:
            self._thread.shutdown(wait=False)


async def _run(thread: ThreadPoolExecutor, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    future = asyncio.wrap_future(thread.submit(step, *args, **kwargs))
    future.add_done_callback(_retrieve_exception)
    # Shielded, because cancelling the future would remove the step from the thread's queue.
    return await asyncio.shield(future)


def _retrieve_exception(future: asyncio.Future[T]) -> None:
    """Keep asyncio from warning of an exception that a cancelled caller never retrieved."""
    if not future.cancelled():
        future.exception()
