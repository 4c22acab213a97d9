"""A copy in an object store: polls work on a local one, and each is mirrored when it is done."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread

from bulk_export.errors import BulkExportError, Interrupted
from bulk_export.output.object_store.copy_mirror import CopyMirror
from bulk_export.output.object_store.copy_record import read_record, write_record
from bulk_export.output.object_store.lease import LEASE, Lease, LeaseTimes
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.pipelines.sync.options import SyncOptions

_PUBLIC = "{url} can be read by everybody, without credentials; the records are personal data"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """The copy in an object store, if there is one.

    Attributes:
        mirror: Writes to it.
        is_taken_up: Whether it has just replaced the one here.
        remarks: What the user should know of the address.
    """

    mirror: CopyMirror | None = None
    is_taken_up: bool = False
    remarks: tuple[str, ...] = ()

    async def push(self) -> list[str]:
        """Bring the store to where the copy here is. Returns remarks. Raises what `CopyMirror.push` raises."""
        return [] if self.mirror is None else await anyio.to_thread.run_sync(self.mirror.push)


@asynccontextmanager
async def open_stored_copy(options: SyncOptions, stop: anyio.Event, times: LeaseTimes) -> AsyncIterator[StoredCopy]:
    """Hold the lease of the address, and bring the copy here to where the store is.

    Args:
        options: The copy. Its directory is locked.
        stop: Ends the wait for a lease.
        times: How long a lease lasts.

    Raises:
        DirectoryInUse: Another sync is under way there.
        Interrupted: `stop` was set.
        BulkExportError: As for `CopyMirror.open`.
    """
    if options.remote is None:
        yield StoredCopy()
        return
    store = ObjectStore(options.remote, kept=f"What was fetched is kept in {options.output}.")
    record = await anyio.to_thread.run_sync(read_record, options.output)
    await anyio.to_thread.run_sync(write_record, options.output, record)
    lease = Lease(store, record.holder, times)
    while not await anyio.to_thread.run_sync(lease.take):
        with anyio.move_on_after(times.look):
            await stop.wait()
        if stop.is_set():
            raise Interrupted("Stopped.", kept="Nothing was changed.", next_step="The same command goes on.")
    async with _kept(lease, times):
        mirror = CopyMirror(store, options.output, lease.require)
        is_taken_up = await anyio.to_thread.run_sync(mirror.open)
        is_new = not (record.version or is_taken_up)
        is_public = is_new and await anyio.to_thread.run_sync(store.is_public, LEASE)
        yield StoredCopy(mirror, is_taken_up, (_PUBLIC.format(url=store.url),) if is_public else ())


@asynccontextmanager
async def _kept(lease: Lease, times: LeaseTimes) -> AsyncIterator[None]:
    """Renew a lease during a block, and give it back at the end. An error of the block is raised as it is."""
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_renew, lease, times.renew)
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, and not in a group
                failure = error
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lease.release)
    if failure is not None:
        raise failure


async def _renew(lease: Lease, seconds: float) -> None:
    """Renew a lease now and then. If that fails, the next write to the store says so."""
    while True:
        await anyio.sleep(seconds)
        try:
            await anyio.to_thread.run_sync(lease.renew)
        except BulkExportError as error:
            logger.warning("The lease could not be renewed: %s", type(error).__name__)
