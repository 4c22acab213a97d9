"""Streams that nobody reads to their end: however they are left, no task, connection or lock stays."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pytest
from anyio.from_thread import start_blocking_portal

import bulk_export
from bulk_export.pipelines.stream import _open
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import FREE, TOKEN, settings

Stream = AsyncGenerator[pa.RecordBatch, None]
_LONGEST = 60.0


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    """A service in a thread of its own: all tasks of the loop of a test are those of the test and of the stream."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(
            serving(settings(records_by_endpoint={"npq-applications": 20_000}, latency=0.002))
        ) as started,
    ):
        yield started


async def read(batches: Stream, rows_per: int = 1) -> None:
    """Read to the end, unless the consumer fails."""
    async for batch in batches:
        _ = batch.num_rows // rows_per


async def after_break(batches: Stream) -> None:
    async for _ in batches:
        break


async def closed(batches: Stream) -> None:
    async with aclosing(batches):
        await anext(batches)


async def closed_before_the_first_batch(batches: Stream) -> None:
    await batches.aclose()


async def never_begun(batches: Stream) -> None:
    pass


async def cancelled(batches: Stream) -> None:
    """As by `asyncio.timeout`, in the middle of waiting for the next batch."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(batches), 0.2)


async def cancelled_scope(batches: Stream) -> None:
    """A scope of anyio cancels again and again until it is left."""
    with anyio.move_on_after(0.2) as scope:
        await read(batches)
    assert scope.cancelled_caught


async def cancelled_while_closing(batches: Stream) -> None:
    """A second cancellation arrives while the first one is at work."""
    reader = asyncio.create_task(read(batches))
    await asyncio.sleep(0.2)
    reader.cancel()
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


async def collected(batches: Stream) -> None:
    """A cycle keeps the generator until the collector finds it."""
    cycle: list[Any] = [batches]
    cycle.append(cycle)
    await anext(batches)
    del cycle


async def error_of_consumer(batches: Stream) -> None:
    with pytest.raises(ZeroDivisionError):
        await read(batches, rows_per=0)


WAYS = [
    after_break,
    closed,
    closed_before_the_first_batch,
    never_begun,
    cancelled,
    cancelled_scope,
    cancelled_while_closing,
    collected,
    error_of_consumer,
]


def sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except FileNotFoundError:
            continue
    return {name for name in found if name.startswith("socket:")}


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(_LONGEST):
        while not is_so():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_nothing_stays(leave: Callable[[Stream], Awaitable[None]], service: LocalService, tmp_path: Path) -> None:
    """The tasks end, the connections close, and the record of requests can be written to."""
    tasks, before = asyncio.all_tasks(), sockets()
    options: dict[str, Any] = FREE | {"budget": f"sqlite:///{tmp_path}/ledger", "token": TOKEN}
    await leave(bulk_export.stream("npq-applications", base_url=service.base_url, page_size=20, **options))
    gc.collect()
    await until(lambda: asyncio.all_tasks() == tasks and not _open)
    # The service closes its ends as soon as it notices.
    await until(lambda: not (sockets() - before))
    ledger = sqlite3.connect(tmp_path / "ledger", isolation_level=None, timeout=0)
    ledger.execute("BEGIN EXCLUSIVE")
    ledger.close()


def test_loop_ends(service: LocalService, recwarn: pytest.WarningsRecorder) -> None:
    """A program that ends its loop with a stream half read ends without a word."""

    async def main() -> Stream:
        batches = bulk_export.stream("npq-applications", base_url=service.base_url, token=TOKEN, page_size=20, **FREE)
        await anext(batches)
        return batches

    asyncio.run(main())
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
