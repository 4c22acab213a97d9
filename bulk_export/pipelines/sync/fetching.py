"""The exports that polls consist of: each below `.bulk-export/`, in the columns that the copy has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread
import pyarrow as pa

from bulk_export.core.model import Endpoint
from bulk_export.errors import BulkExportError, DamagedState, Interrupted, UsageError
from bulk_export.output.file_names import MANIFEST
from bulk_export.output.formats.reading import schema_of
from bulk_export.output.manifest import read_manifest
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.merge import Fetched, table_of
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.schema import UnfitColumns, described_as_copied, united
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.observer import Observer

# A clock that is set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 1.0

# Runs an export, and leaves it finished in its output.
Extract = Callable[[ExportOptions, Observer, anyio.Event], Awaitable[None]]


class WindowClosed(Exception):
    """The daily window for full syncs closed before this one was done."""


async def export_by(
    options: ExportOptions, observer: Observer, stop: anyio.Event, *, clock: Callable[[], datetime]
) -> None:
    await pipeline.export(options, observer, stop=stop, tuning=Tuning(clock=clock))


class Fetching:
    """Fetches groups of endpoints, and adds to `remarks` what a person should know of that."""

    def __init__(
        self,
        options: SyncOptions,
        observer: Observer,
        stop: anyio.Event,
        clock: Callable[[], datetime],
        extract: Extract,
        remarks: list[str],
    ) -> None:
        self._options = options
        self._observer = observer
        self._stop = stop
        self._clock = clock
        self._extract = extract
        self._remarks = remarks

    async def fetch(
        self,
        since: datetime | None,
        names: Sequence[str],
        directory: Path,
        *,
        in_window: bool,
        waits: bool,
        wider: Fetched | None = None,
    ) -> Fetched:
        """Export a group into a directory, unless an earlier run did so; with the columns of `wider`, too.

        `in_window` keeps to the daily window, which one that `waits` waits for. Raises WindowClosed for any other.
        """
        is_begun = await anyio.Path(directory).exists()
        template = self._options.full if since is None else self._options.changes
        wanted = replace(
            template,
            endpoints=await anyio.to_thread.run_sync(self._described, template, names, wider),
            updated_since=since,
            output=directory,
            window=template.window if in_window else None,
        )
        run = self._extracted if waits or wanted.window is None else self._extracted_until_closed

        async def fetched() -> Fetched:
            if not await anyio.Path(directory / MANIFEST).exists():
                await run(wanted)
            return Fetched(directory, await anyio.to_thread.run_sync(read_manifest, directory), since)

        async def fetched_again() -> Fetched:
            self._remarks.append("Pages of an interrupted poll could not be used, and were fetched again.")
            await anyio.to_thread.run_sync(remove_tree, directory)
            return await fetched()

        try:
            found = await fetched()
        except (UsageError, DamagedState):
            if not await anyio.Path(directory).exists():
                raise
            # Pages of another version of this program, of another description, or torn: they can be had again.
            return await fetched_again()
        # A poll that overtook this one may have added columns that cannot stand beside those that this one inferred.
        if is_begun and not await anyio.to_thread.run_sync(self._fits, found, names, wider):
            return await fetched_again()
        return found

    def _described(self, template: ExportOptions, names: Sequence[str], wider: Fetched | None) -> tuple[Endpoint, ...]:
        described = {endpoint.name: endpoint for endpoint in template.endpoints}
        return tuple(described_as_copied(described[name], self._columns(name, wider)) for name in names)

    def _fits(self, found: Fetched, names: Sequence[str], wider: Fetched | None) -> bool:
        """Whether what was fetched can be read, and its columns merged into those of the tables."""
        try:
            for name in names:
                united(self._columns(name, wider), schema_of(found.files(name)[0]))
        except (UnfitColumns, OSError, pa.ArrowException):
            return False
        return True

    def _columns(self, name: str, wider: Fetched | None) -> pa.Schema | None:
        """The columns of a table and those of a file to be merged into it, too."""
        copied = table_of(self._options, name).schema
        return copied if wider is None else united(copied, schema_of(wider.files(name)[0]))

    async def _extracted(self, wanted: ExportOptions) -> None:
        try:
            await self._extract(wanted, self._observer, self._stop)
        except Interrupted:
            raise self._interrupted() from None

    async def _extracted_until_closed(self, wanted: ExportOptions) -> None:
        """Raises WindowClosed where the window closes before it is done."""
        stop, closed = anyio.Event(), False
        failure: BulkExportError | None

        async def pass_on() -> None:
            await self._stop.wait()
            stop.set()

        async def close() -> None:
            nonlocal closed
            while wanted.window is not None and wanted.window.open_at(now := self._clock()):
                left = (wanted.window.closes_at(now) - now) / timedelta(seconds=1)
                await anyio.sleep(min(_LONGEST_SLEEP, max(0.0, left)))
            closed = True
            stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pass_on)
            tasks.start_soon(close)
            try:
                await self._extract(wanted, self._observer, stop)
                failure = None
            except BulkExportError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if isinstance(failure, Interrupted):
            raise WindowClosed if closed and not self._stop.is_set() else self._interrupted()
        if failure is not None:
            raise failure

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            "Interrupted.",
            kept=f"Every page that had arrived is kept in {self._options.output}.",
            next_step="The same command goes on from here.",
        )
