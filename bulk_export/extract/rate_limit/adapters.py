"""Turns a blocking `Ledger` into an `AsyncLedger`: called directly if it never waits, or in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import ParamSpec, Protocol, Self, TypeVar

from bulk_export.errors import LocalFailure
from bulk_export.extract.rate_limit.interface import Granted, Ledger, RequestOutcome, Wait
from bulk_export.extract.rate_limit.retry_after import RetryAfter

logger = logging.getLogger(__name__)

# The most seconds for which the end of a request is not on record, and other processes may wait longer for it.
LATEST = 0.02

P = ParamSpec("P")
T = TypeVar("T")


class LedgerOfGroups(Ledger, Protocol):
    """A ledger that can carry out several steps in one transaction."""

    def together(self) -> AbstractContextManager[None]:
        """Carry out the steps within all or none; an error is raised for all of them."""


class InlineAsyncLedger:
    """Calls a ledger that never waits, as the one in memory, directly on the event loop."""

    releases_at_once = True

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

    The ends of requests are recorded together with the next claim, or after `LATEST` seconds if there is none: one
    transaction and one visit to the thread instead of two. Until then such a request counts as in flight, so it is
    never counted too short, and that it cannot be recorded is no failure: the next step tries again.
    """

    releases_at_once = True

    def __init__(self, ledger: LedgerOfGroups, thread: ThreadPoolExecutor) -> None:
        self._ledger = ledger
        self._thread = thread
        # How requests ended that are not on record yet, by identity.
        self._ended: dict[int, RequestOutcome] = {}
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, open_ledger: Callable[[], LedgerOfGroups]) -> Self:
        """Open a ledger in the thread that will use it. Raises what `open_ledger` raises."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="budget")
        try:
            return cls(await _result(_submit(thread, open_ledger)), thread)
        except BaseException:
            thread.shutdown(wait=False)
            raise

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`."""
        return await self._after_ends(self._ledger.claim, identity)

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`, but return before it is on record."""
        self._ended[identity] = outcome
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LATEST, self._record_ends)

    async def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`."""
        return await self._after_ends(self._ledger.report_throttled, identity, retry_after)

    async def leave_queue(self) -> None:
        """As `Ledger.leave_queue`."""
        await _result(_submit(self._thread, self._ledger.leave_queue))

    async def close(self) -> None:
        """Record what has ended, close the ledger, and end the thread."""
        try:
            with contextlib.suppress(LocalFailure):
                await self._after_ends(_nothing)
            await _result(_submit(self._thread, self._ledger.close))
        finally:
            self._thread.shutdown(wait=False)

    async def _after_ends(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await _result(self._submit_after_ends(step, *args, **kwargs))

    def _record_ends(self) -> None:
        self._submit_after_ends(_nothing)

    def _submit_after_ends(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Submit a step behind the ends of requests, all in one transaction."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended = dict(self._ended)

        def together() -> T:
            if not ended:
                return step(*args, **kwargs)
            with self._ledger.together():
                for identity, outcome in ended.items():
                    self._ledger.release(identity, outcome)
                return step(*args, **kwargs)

        def forget(future: asyncio.Future[T]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, LocalFailure) and ended:
                logger.info("The ends of %d requests could not be recorded yet: %s", len(ended), error.what)
            if error is None and not future.cancelled():
                for identity in ended:
                    self._ended.pop(identity, None)

        future = _submit(self._thread, together)
        future.add_done_callback(forget)
        return future


def _nothing() -> None:
    return


def _submit(thread: ThreadPoolExecutor, step: Callable[[], T]) -> asyncio.Future[T]:
    future = asyncio.wrap_future(thread.submit(step))
    future.add_done_callback(_retrieve_exception)
    return future


async def _result(future: asyncio.Future[T]) -> T:
    # Shielded, because cancelling the future would remove the step from the thread's queue.
    return await asyncio.shield(future)


def _retrieve_exception(future: asyncio.Future[T]) -> None:
    """Keep asyncio from warning of an exception that a cancelled caller never retrieved."""
    if not future.cancelled():
        future.exception()
