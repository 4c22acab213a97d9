"""Fetches the records of a poll: one ordinary export for each group of endpoints, with the columns of the tables.

The exports are below `.bulk-export/`, and can be interrupted like any other export. This is the only module of `sync`
that calls the pipeline for exports.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow as pa

from bulk_export.core.daily_window import Window
from bulk_export.errors import BulkExportError, DamagedState, Interrupted, UsageError
from bulk_export.output.file_names import MANIFEST
from bulk_export.output.formats.reading import schema_of
from bulk_export.output.manifest import read_manifest
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import OpenPoll
from bulk_export.pipelines.sync.tables.schema import IncompatibleColumns, as_copied, merged_schema
from bulk_export.pipelines.sync.tables.storage import open_table
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.observer import Observer

logger = logging.getLogger(__name__)

# A clock that was set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 1.0
_FETCHED_AGAIN = "Pages of an interrupted poll could not be used, and were fetched again."

# Runs an export, and leaves it finished in its output.
Extract = Callable[[ExportOptions, Observer, anyio.Event], Awaitable[None]]


async def run_export(
    options: ExportOptions, observer: Observer, stop: anyio.Event, *, clock: Callable[[], datetime]
) -> None:
    """Run the pipeline for exports, with daily windows by `clock`."""
    await export(options, observer, stop=stop, tuning=Tuning(clock=clock))


class WindowClosed(Exception):
    """The daily window for full syncs closed before this one was finished."""


@dataclass(frozen=True, slots=True)
class GroupRequest:
    """What to fetch in one export.

    Attributes:
        since: The instant from which changes are requested; None for all records.
        names: The endpoints.
        directory: Where the export is kept until the poll is finished.
        in_window: Whether to keep to the daily window for full syncs.
        waits: Whether to wait for that window, rather than to raise WindowClosed when it closes.
        first_load: An earlier load of the same poll, whose columns are fetched, too.
    """

    since: datetime | None
    names: tuple[str, ...]
    directory: Path
    in_window: bool
    waits: bool
    first_load: GroupLoad | None = None


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """The finished export of a group in `directory`, and its request."""

    directory: Path
    manifest: Mapping[str, Any]
    since: datetime | None

    @property
    def names(self) -> tuple[str, ...]:
        """The endpoints of the group."""
        return tuple(self.manifest["endpoints"])

    def files(self, name: str) -> list[Path]:
        """The Parquet files of an endpoint."""
        return [self.directory / file["path"] for file in self.manifest["endpoints"][name]["files"]]

    def detects_removals(self, name: str) -> bool:
        """Whether a record that the load lacks is gone: everything was fetched, and two sweeps agreed."""
        return self.since is None and self.manifest["endpoints"][name]["consistent"] is True

    def may_continue(self, name: str) -> bool:
        """Whether the list may go on after the last page that was shown."""
        return "suspicious_end" in self.manifest["endpoints"][name]["signs_of_change"]

    def is_single_response(self, name: str) -> bool:
        """Whether one response showed everything of an endpoint, and no sweep confirmed it."""
        return not self.manifest["endpoints"][name].get("swept_again")

    @property
    def clock_reading(self) -> tuple[float | None, int]:
        """Seconds by which the service's clock was ahead of ours, if known, and how many answers said so."""
        run = self.manifest["run"]
        return run.get("server_clock_ahead"), run.get("server_clock_answers") or 1


@dataclass(frozen=True, slots=True)
class FetchedPoll:
    """The loads of a poll.

    Attributes:
        poll: The poll.
        loads: A load for each of its groups.
        clock_ahead: Seconds by which the service's clock is taken to be ahead of ours.
        started_at: Its start by the service's clock.
        is_overtaken: Whether later polls have started since, because this one was interrupted.
        second_loads: Second loads of endpoints whose first one lacked records.
    """

    poll: OpenPoll
    loads: tuple[GroupLoad, ...]
    clock_ahead: float
    started_at: datetime
    is_overtaken: bool
    second_loads: Mapping[str, GroupLoad] = field(default_factory=dict)

    def by_endpoint(self) -> Iterable[tuple[str, GroupLoad]]:
        """Each endpoint with its first load."""
        return ((name, load) for load in self.loads for name in load.names)


class GroupFetcher:
    """Fetches groups of endpoints, and adds remarks for the person who runs the poll to `remarks`."""

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

    async def fetch(self, request: GroupRequest) -> GroupLoad:
        """Fetch a group, resuming the export that an earlier run began in its directory.

        Raises:
            BulkExportError: As for an export.
            Interrupted: The user stopped the run; pages that had arrived are kept.
            WindowClosed: The window closed before the export was finished.
        """
        directory = anyio.Path(request.directory)
        is_resumed = await directory.exists()
        options = await anyio.to_thread.run_sync(self._export_options, request)
        try:
            load = await self._export_once(request, options)
        except (UsageError, DamagedState):
            # 1. The pages are of another version of this program or of another description, or they are damaged.
            if not await directory.exists():
                raise
            return await self._fetch_again(request, options)
        # 2. A poll that overtook this one added columns that do not fit those that this one inferred.
        if is_resumed and not await anyio.to_thread.run_sync(self._fits, load, request):
            return await self._fetch_again(request, options)
        return load

    async def _fetch_again(self, request: GroupRequest, options: ExportOptions) -> GroupLoad:
        logger.warning("Fetching %d endpoints again: the pages of an interrupted poll are unusable", len(request.names))
        self._remarks.append(_FETCHED_AGAIN)
        await anyio.to_thread.run_sync(remove_tree, request.directory)
        return await self._export_once(request, options)

    async def _export_once(self, request: GroupRequest, options: ExportOptions) -> GroupLoad:
        """Run the export unless it is finished, and read its manifest."""
        if not await anyio.Path(request.directory / MANIFEST).exists():
            if request.waits or options.window is None:
                await self._export(options)
            else:
                await self._export_until_closed(options, options.window)
        manifest = await anyio.to_thread.run_sync(read_manifest, request.directory)
        return GroupLoad(request.directory, manifest, request.since)

    async def _export(self, options: ExportOptions) -> None:
        try:
            await self._extract(options, self._observer, self._stop)
        except Interrupted:
            raise interrupted_poll(self._options.output) from None

    async def _export_until_closed(self, options: ExportOptions, window: Window) -> None:
        """Export until the window closes, and raise WindowClosed if it does before the export is finished."""
        stopper = _Stopper(self._stop, window, self._clock)
        failure: BulkExportError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stopper.follow_user)
            tasks.start_soon(stopper.follow_window)
            # Caught here, so that the task group does not wrap it in an exception group.
            try:
                await self._extract(options, self._observer, stopper.stop)
            except BulkExportError as error:
                failure = error
            tasks.cancel_scope.cancel()
        if isinstance(failure, Interrupted):
            if stopper.is_closed and not self._stop.is_set():
                raise WindowClosed
            raise interrupted_poll(self._options.output)
        if failure is not None:
            raise failure

    def _export_options(self, request: GroupRequest) -> ExportOptions:
        template = self._options.full if request.since is None else self._options.changes
        described = {endpoint.name: endpoint for endpoint in template.endpoints}
        return replace(
            template,
            endpoints=tuple(as_copied(described[name], self._columns(name, request)) for name in request.names),
            updated_since=request.since,
            output=request.directory,
            window=template.window if request.in_window else None,
        )

    def _fits(self, load: GroupLoad, request: GroupRequest) -> bool:
        """Whether what was fetched can be read, and its columns merged into those of the tables."""
        try:
            for name in request.names:
                merged_schema(self._columns(name, request), schema_of(load.files(name)[0]))
        except (IncompatibleColumns, OSError, pa.ArrowException):
            return False
        return True

    def _columns(self, name: str, request: GroupRequest) -> pa.Schema | None:
        """The columns of a table, and those of the first load of the poll."""
        copied = open_table(self._options, name).schema
        first = request.first_load
        return copied if first is None else merged_schema(copied, schema_of(first.files(name)[0]))


def interrupted_poll(output: Path) -> Interrupted:
    """Return the error for a poll that was asked to stop, of the copy in `output`."""
    return Interrupted(
        "Interrupted.",
        kept=f"Every page that had arrived is kept in {output}.",
        next_step="The same command goes on from here.",
    )


@dataclass(slots=True)
class _Stopper:
    """Stops an export when the user stops the run, or when the daily window closes."""

    user_stop: anyio.Event
    window: Window
    clock: Callable[[], datetime]
    stop: anyio.Event = field(default_factory=anyio.Event)
    is_closed: bool = False

    async def follow_user(self) -> None:
        await self.user_stop.wait()
        self.stop.set()

    async def follow_window(self) -> None:
        while self.window.open_at(now := self.clock()):
            left = (self.window.closes_at(now) - now) / timedelta(seconds=1)
            await anyio.sleep(min(_LONGEST_SLEEP, max(0.0, left)))
        self.is_closed = True
        self.stop.set()
