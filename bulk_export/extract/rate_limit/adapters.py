"""A blocking ledger behind an event loop: one thread of its own does each step, in the order they were asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, Self, TypeVar

from bulk_export.extract.rate_limit.interface import Granted, Ledger, RequestOutcome, Wait
from bulk_export.extract.rate_limit.retry_after import RetryAfter

P = ParamSpec("P")
T = TypeVar("T")


class InThread:
    """A store over a ledger that blocks. A step once asked for is done, whatever becomes of who asked."""

    def __init__(self, ledger: Ledger, thread: ThreadPoolExecutor) -> None:
        self._ledger = ledger
        self._thread = thread

    @classmethod
    async def open(cls, make: Callable[[], Ledger]) -> Self:
        """Open a ledger in the thread that will use it."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="budget")
        try:
            return cls(await _run(thread, make), thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def claim(self, identity: int) -> Granted | Wait:
        """As the ledger."""
        return await _run(self._thread, self._ledger.claim, identity)

    async def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """As the ledger."""
        await _run(self._thread, self._ledger.settle, identity, outcome)

    async def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """As the ledger."""
        return await _run(self._thread, self._ledger.refuse, identity, refusal)

    async def withdraw(self) -> None:
        """As the ledger."""
        await _run(self._thread, self._ledger.withdraw)

    async def close(self) -> None:
        """Close the ledger, and end the thread."""
        try:
            await _run(self._thread, self._ledger.close)
        finally:
            self._thread.shutdown(wait=False)


async def _run(thread: ThreadPoolExecutor, step: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    future = asyncio.wrap_future(thread.submit(step, *arguments, **named))
    # Shielded, because cancelling the future would take the step out of the thread's queue.
    future.add_done_callback(_noticed)
    return await asyncio.shield(future)


def _noticed(future: asyncio.Future[T]) -> None:
    if not future.cancelled():
        future.exception()
