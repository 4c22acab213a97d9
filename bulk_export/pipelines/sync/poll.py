"""One poll from end to end: what is due is fetched, merged into the copy, and recorded.

The stations are listed in the docstring of the package. A poll that is killed anywhere is continued by the next run. A
poll that fails advances nothing, so the next one asks from as far back.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
from collections.abc import Callable, Container, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.files import local_failures
from bulk_export.core.window_gate import utc_now
from bulk_export.errors import UsageError
from bulk_export.output.directory import inspect_output, locked_directory, prepare_output
from bulk_export.output.file_names import REPORT, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.output.object_store.lease import LeaseTimes
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines.sync.confirm_removals import (
    MissingRecords,
    endpoints_to_confirm,
    refuse_another_provider,
    removals_refused,
)
from bulk_export.pipelines.sync.fetch import (
    Extract,
    FetchedPoll,
    GroupFetcher,
    GroupRequest,
    WindowClosed,
    run_export,
)
from bulk_export.pipelines.sync.log import append_entry
from bulk_export.pipelines.sync.merge import merge_poll
from bulk_export.pipelines.sync.open_copy import OpenCopy, holds_copy, open_copy
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.plan_poll import can_resume, group_by_since, plan_full_sync
from bulk_export.pipelines.sync.reconcile import reconcile
from bulk_export.pipelines.sync.record_poll import MergedPoll, state_after
from bulk_export.pipelines.sync.service_clock import clock_ahead, clock_remark, poll_start
from bulk_export.pipelines.sync.state import CHANGES, FULL, OpenPoll
from bulk_export.pipelines.sync.state_file import write_state
from bulk_export.pipelines.sync.stored_copy import StoredCopy, open_stored_copy
from bulk_export.pipelines.sync.summary import PollSummary, SyncSummary
from bulk_export.pipelines.sync.tables.storage import SCRATCH, maintain_tables, remove_unused_files
from bulk_export.progress.observer import Observer

logger = logging.getLogger(__name__)


def _ignore(_: SyncSummary) -> None:
    pass


async def sync_once(
    options: SyncOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    clock: Callable[[], datetime] = utc_now,
    extract: Extract | None = None,
    every: timedelta | None = None,
    report: Callable[[SyncSummary], None] = _ignore,
    lease: LeaseTimes = LeaseTimes(),  # noqa: B008 - a value
) -> SyncSummary:
    """Bring the copy up to date: continue what was interrupted, make a full sync if one is due, and ask for changes.

    Args:
        options: What to keep current, and where.
        observer: Receives the events of each export.
        stop: When it is set, pages on their way are kept and Interrupted is raised.
        clock: The present; tests set it.
        extract: Takes the place of the pipeline for exports; tests set it.
        every: The time between two calls, if it is known.
        report: Is called with the summary, also before RemovalRefused is raised.
        lease: How long a copy in an object store is leased.

    Returns:
        The polls that were made, and remarks.

    Raises:
        BulkExportError: Any of `bulk_export.errors`. The next call continues, or covers what this one did not.
    """
    if not holds_copy(options.output) and inspect_output(options.output):
        raise UsageError(
            f"{options.output} holds a finished export.",
            kept="Nothing was changed.",
            next_step="Choose another --output for the copy.",
        )
    remarks: list[str] = []
    run = extract or functools.partial(run_export, clock=clock)
    stop = stop or anyio.Event()
    fetcher = GroupFetcher(options, observer or Observer(), stop, clock, run, remarks)
    async with AsyncExitStack() as stack:
        await anyio.to_thread.run_sync(prepare_output, options.output)
        stack.enter_context(locked_directory(options.output))
        stack.callback(_remove_if_empty, options.output / WORKING_DIRECTORY)
        stored = await stack.enter_async_context(open_stored_copy(options, stop, lease))
        remarks += stored.remarks
        copy = await anyio.to_thread.run_sync(open_copy, options)
        now = copy.state.service_time(clock())
        reconciled = await anyio.to_thread.run_sync(reconcile, options, copy.state, now)
        remarks += reconciled.remarks
        # What a run that was killed, or that the store refused, has left to do.
        remarks += await stored.push()
        syncing = _SyncRun(options, replace(copy, state=reconciled.state), fetcher, clock, every, remarks, stored)
        polls = await syncing.poll_all()
        if not syncing.has_open_polls:
            await anyio.to_thread.run_sync(_clear, options.output / WORKING_DIRECTORY)
            # The data files of a table whose log was lost are in no version of the one that took its place.
            # So are those that a lost machine had uploaded for a version that it never wrote.
            unused = copy.state.watermarks if stored.is_taken_up else reconciled.lost_tables
            await anyio.to_thread.run_sync(remove_unused_files, options, unused)
            remarks += await stored.push()
        if options.with_report:
            from bulk_export.pipelines.report import renewed_report  # other polls do without what it imports

            working = options.output / WORKING_DIRECTORY
            remarks += await anyio.to_thread.run_sync(renewed_report, options.output, working)
    summary = SyncSummary(polls, remarks)
    report(summary)
    if syncing.refused:
        raise removals_refused(syncing.refused)
    return summary


class _SyncRun:
    """The polls of one call, on a copy that is open and locked.

    Attributes:
        refused: The removals that were refused, by endpoint.
    """

    def __init__(
        self,
        options: SyncOptions,
        copy: OpenCopy,
        fetcher: GroupFetcher,
        clock: Callable[[], datetime],
        every: timedelta | None,
        remarks: list[str],
        stored: StoredCopy,
    ) -> None:
        self._options = options
        self._working = options.output / WORKING_DIRECTORY
        self._state = copy.state
        self._source = copy.source
        self._new_identity = copy.new_identity
        self._fetcher = fetcher
        self._clock = clock
        self._every = every
        self._remarks = remarks
        self._stored = stored
        self._last_number_before = copy.state.poll_number
        self._names = [endpoint.name for endpoint in options.full.endpoints]
        now = copy.state.service_time(clock())
        self._intervals = {name: copy.state.schedule_of(name, every).interval(now) for name in self._names}
        self.refused: dict[str, MissingRecords] = {}

    @property
    def has_open_polls(self) -> bool:
        """Whether a poll is to be continued by a later run."""
        return bool(self._state.open_polls)

    async def poll_all(self) -> list[PollSummary]:
        """Make a full sync of what is due, then poll the rest for changes."""
        polls: list[PollSummary] = []
        plan = plan_full_sync(self._options, self._state, self._clock(), needs_proof=bool(self._new_identity))
        if plan.remark is not None:
            self._remarks.append(plan.remark)
        if plan.names:
            try:
                polls.append(await self._poll(FULL, plan.names))
            except WindowClosed:
                self._remarks.append("The full sync goes on in the next window.")
        while names := self._names_to_poll(polls):
            polls.append(await self._poll(CHANGES, names))
        return polls

    def _names_to_poll(self, polls: Sequence[PollSummary]) -> list[str]:
        """The endpoints that were fetched before, but by no poll that this run began.

        A poll that an earlier run began shows the service as it was then, so another one follows it.
        """
        if self._new_identity:
            return []
        fresh = {name for poll in polls if not self._is_resumed(poll.number) for name in poll.tables}
        return [name for name in self._names if name in self._state.watermarks and name not in fresh]

    async def _poll(self, kind: str, names: Sequence[str]) -> PollSummary:
        """Make or continue a poll: fetch, confirm removals, merge and record."""
        poll = self._state.open_polls.get(kind)
        if poll is None or not self._can_resume(poll, names):
            poll = await anyio.to_thread.run_sync(self._begin, kind, names)
        logger.info("Started: poll %d, %s, %d endpoints", poll.number, kind, len(names))
        fetched = await self._fetch(kind, poll)
        missing = await anyio.to_thread.run_sync(endpoints_to_confirm, self._options, fetched)
        fetched = await self._fetch_again(kind, fetched, missing)
        untrusted = frozenset(name for name, of in missing.items() if of.is_beyond(self._options.max_removed))
        summary = await anyio.to_thread.run_sync(self._merge_and_record, kind, fetched, untrusted)
        # A file that was vacuumed here must not be missing in the store from a version that is still to come.
        self._remarks += await self._stored.push()
        await anyio.to_thread.run_sync(maintain_tables, self._options, names)
        self._remarks += await self._stored.push()
        logger.info("Finished: %s", summary.line())
        return summary

    def _can_resume(self, poll: OpenPoll, names: Sequence[str]) -> bool:
        # A poll that an earlier version began has no source. Its pages prove nothing about a new token or address.
        if poll.source != self._source and (poll.source or self._new_identity):
            return False
        return can_resume(poll, names, self._state.service_time(self._clock()))

    def _begin(self, kind: str, names: Sequence[str]) -> OpenPoll:
        """Note a new poll and its start before its first request, in place of one that asked for something else."""
        now = self._clock()
        endpoints = self._options.full.endpoints
        everything = [endpoint.name for endpoint in endpoints if kind == FULL or endpoint.since is None]
        service_now = self._state.service_time(now)
        groups = group_by_since(self._state.watermarks, names, everything, service_now, self._intervals)
        poll = OpenPoll(self._state.poll_number + 1, now, tuple(groups), secrets.token_hex(16), self._source)
        self._remove_loads(kind)
        self._state = self._state.with_open(kind, poll)
        write_state(self._options.output, self._state)
        return poll

    async def _fetch(self, kind: str, poll: OpenPoll) -> FetchedPoll:
        """Fetch each group of a poll."""
        requests = [
            self._request(kind, poll, str(number), since, names) for number, (since, names) in enumerate(poll.groups)
        ]
        loads = tuple([await self._fetcher.fetch(request) for request in requests])
        ahead = clock_ahead(loads, self._state)
        is_overtaken = poll.number < self._state.poll_number
        return FetchedPoll(poll, loads, ahead, poll_start(poll, ahead), is_overtaken)

    async def _fetch_again(self, kind: str, fetched: FetchedPoll, names: Container[str]) -> FetchedPoll:
        """Fetch everything of some endpoints once more."""
        second_loads = {}
        for name, load in fetched.by_endpoint():
            if name in names:
                request = self._request(kind, fetched.poll, f"again-{name}", None, (name,))
                second_loads[name] = await self._fetcher.fetch(replace(request, first_load=load))
        return replace(fetched, second_loads=second_loads)

    def _request(
        self, kind: str, poll: OpenPoll, directory: str, since: datetime | None, names: tuple[str, ...]
    ) -> GroupRequest:
        return GroupRequest(
            since,
            names,
            self._working / kind / poll.id / directory,
            in_window=kind == FULL,
            # A new copy waits until the window opens, since there is nothing else to do.
            waits=any(name not in self._state.watermarks for _, group in poll.groups for name in group),
        )

    def _merge_and_record(self, kind: str, fetched: FetchedPoll, untrusted: frozenset[str]) -> PollSummary:
        """Merge what was fetched, advance the watermarks in one write of the state, then log the poll."""
        options, ahead = self._options, fetched.clock_ahead
        if (remark := clock_remark(fetched.loads, ahead)) is not None:
            self._remarks.append(remark)
        if self._new_identity and not options.accepts_removals:
            refuse_another_provider(options, fetched, self._new_identity)
        results = merge_poll(options, fetched)
        merged = MergedPoll(kind, fetched, results, untrusted, self._is_resumed(fetched.poll.number))
        self._remarks += merged.remarks()
        self.refused |= merged.refused
        summary = merged.summary(self._clock() + timedelta(seconds=ahead))
        identity, self._new_identity = self._new_identity, {}
        self._state = state_after(self._state, merged, summary, options, every=self._every, new_identity=identity)
        write_state(options.output, self._state)
        append_entry(options.output, summary.to_json())
        self._remove_loads(kind)
        return summary

    def _is_resumed(self, number: int) -> bool:
        """Whether an earlier run began a poll."""
        return number <= self._last_number_before

    def _remove_loads(self, kind: str) -> None:
        with local_failures(f"Removing {self._working / kind}"):
            remove_tree(self._working / kind)


def _clear(working: Path) -> None:
    """Remove what polls left in the working directory."""
    with local_failures(f"Clearing {working}"):
        for name in (FULL, CHANGES, SCRATCH):
            remove_tree(working / name)
        # What a crash left of files that were about to be renamed, or of probes of the file system.
        for pattern in (f".{SYNC_STATE}.*", f".{REPORT}.*", "probe.*"):
            for file in working.glob(pattern):
                file.unlink(missing_ok=True)


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
