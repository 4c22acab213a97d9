"""One poll from end to end: what is due is fetched as an export of its own, taken into the copy, and noted.

    open the poll    its start and what it asks from are in the state before its first request
    fetch            an ordinary export below `.bulk-export/`, which survives whatever an export survives
    merge            one transaction for each table; made again, it changes nothing
    note             the watermarks move in one write, then the log gets its line

Killed anywhere, the next run goes on from there. A poll that fails moves nothing: the next one asks from as far back.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export import pipeline
from bulk_export.errors import BulkExportError, DamagedState, Interrupted, UsageError
from bulk_export.files import (
    MANIFEST,
    SYNC_STATE,
    WORKING_DIRECTORY,
    inspect_output,
    local_failures,
    locked_directory,
    prepare_output,
    remove_tree,
)
from bulk_export.manifest import read_manifest
from bulk_export.opening import utc_now
from bulk_export.options import ExportOptions
from bulk_export.polling.copied_schema import described_as_copied
from bulk_export.polling.copy_state import CopyState, OpenPoll, read_state, refuse_another, write_state
from bulk_export.polling.poll_log import PollSummary, append_entry
from bulk_export.polling.sync_options import SyncOptions
from bulk_export.polling.taking_in import Fetched, started, table_of, take_in, tend
from bulk_export.polling.watermark import Watermark, same_since
from bulk_export.progress.observer import Observer
from bulk_export.working_state import JOURNAL

FULL, CHANGES = "full", "changes"
# A clock that is set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 1.0

# Runs an export, and leaves it finished in its output.
Extract = Callable[[ExportOptions, Observer, anyio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """The polls that were made, one or two of them, and what a person should know."""

    polls: Sequence[PollSummary]
    remarks: Sequence[str] = ()


async def sync_once(
    options: SyncOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    clock: Callable[[], datetime] = utc_now,
    extract: Extract | None = None,
) -> SyncSummary:
    """Bring the copy up to date, with a full sync where one is due, or go on with what was interrupted.

    When `stop` is set, what is on its way is kept and Interrupted is raised. Raises the exceptions of
    `bulk_export.errors`; whatever is raised, the next call goes on or covers what this one did not.
    `extract` takes the place of `pipeline.export`.
    """
    run = extract or functools.partial(_export, clock=clock)
    return await _Sync(options, observer or Observer(), stop or anyio.Event(), clock, run).run()


async def _export(
    options: ExportOptions, observer: Observer, stop: anyio.Event, *, clock: Callable[[], datetime]
) -> None:
    await pipeline.export(options, observer, stop=stop, tuning=pipeline.Tuning(clock=clock))


class _WindowClosed(Exception):
    """The daily window for full syncs closed before this one was done."""


class _Sync:
    def __init__(
        self,
        options: SyncOptions,
        observer: Observer,
        stop: anyio.Event,
        clock: Callable[[], datetime],
        extract: Extract,
    ) -> None:
        self._options = options
        self._observer = observer
        self._stop = stop
        self._clock = clock
        self._extract = extract
        self._working = options.output / WORKING_DIRECTORY
        self._remarks: list[str] = []

    async def run(self) -> SyncSummary:
        if not (self._options.output / SYNC_STATE).exists() and inspect_output(self._options.output):
            raise UsageError(
                f"{self._options.output} holds a finished export.",
                kept="Nothing was changed.",
                next_step="Choose another --output for the copy.",
            )
        with ExitStack() as stack:
            await anyio.to_thread.run_sync(prepare_output, self._options.output)
            stack.enter_context(locked_directory(self._options.output))
            stack.callback(_remove_if_empty, self._working)
            self._state = await anyio.to_thread.run_sync(self._open_state)
            polls, self._polls_before = [], self._state.polls
            names = [endpoint.name for endpoint in self._options.full.endpoints]
            if due := self._due_in_full(names):
                try:
                    polls.append(await self._poll(FULL, due))
                except _WindowClosed:
                    self._remarks.append("The full sync goes on in the next window.")
            # A poll that an earlier run began shows the service as it was then, so another one follows it.
            while rest := [name for name in names if name in self._state.marks and not self._is_fresh(name, polls)]:
                polls.append(await self._poll(CHANGES, rest))
            if not self._state.open:
                with local_failures(f"Removing {self._working}"):
                    await anyio.to_thread.run_sync(remove_tree, self._working)
        return SyncSummary(polls, self._remarks)

    def _open_state(self) -> CopyState:
        """The state of the copy, that of a new one where there is none. What an earlier run could not log is logged."""
        options = self._options
        if (self._working / JOURNAL).exists():
            raise UsageError(
                f"{options.output} holds an unfinished export.", next_step="Choose another --output for the copy."
            )
        state = read_state(options.output)
        if state is None:
            key = secrets.token_bytes(16)
            state = CopyState({**options.identity(), "key": key.hex(), "token": options.token_mark(key)})
            write_state(options.output, state)
            return state
        mark = options.token_mark(bytes.fromhex(str(state.identity.get("key", ""))))
        asked = {**options.identity(), "key": state.identity.get("key"), "token": mark}
        if options.accepts_token:
            state = replace(state, identity={**state.identity, "token": mark})
        if state.identity.get("token") != mark:
            raise UsageError(
                f"{options.output} holds a copy made with another token.",
                kept="Nothing was changed.",
                next_step="If both are of the same provider, add --accept-token once; the copy of another provider"
                " needs another --output.",
            )
        refuse_another(state.identity, asked, options.output)
        if state.last is not None:
            append_entry(options.output, state.last)
        return state

    def _due_in_full(self, names: Sequence[str]) -> list[str]:
        """The endpoints to be swept whole now. Those never seen wait for the window, others go without it."""
        now = self._clock()
        there = self._there(now)
        marks = self._state.marks
        due = [name for name in names if marks.get(name, Watermark()).is_full_due(there, self._options.full_every)]
        window = self._options.full.window
        if window is None or window.open_at(now):
            return due
        new = [name for name in due if name not in marks]
        if due and not new:
            self._remarks.append(f"A full sync is due, and waits for the window {window}.")
        return new

    async def _poll(self, kind: str, names: Sequence[str]) -> PollSummary:
        poll = self._state.open.get(kind)
        if poll is None or {name for _, group in poll.groups for name in group} != set(names):
            poll = await self._begin(kind, names)
        groups = [
            await self._fetch(kind, since, group, self._working / kind / str(number))
            for number, (since, group) in enumerate(poll.groups)
        ]
        summary = await anyio.to_thread.run_sync(self._take_in, kind, poll, groups)
        await anyio.to_thread.run_sync(tend, self._options, names)
        return summary

    async def _begin(self, kind: str, names: Sequence[str]) -> OpenPoll:
        """Note a new poll, in place of one that was left for another question."""
        now = self._clock()
        whole = names if kind == FULL else [one.name for one in self._options.full.endpoints if one.since is None]
        groups = same_since(self._state.marks, names, whole, self._there(now))
        poll = OpenPoll(self._state.polls + 1, now, tuple(groups))
        with local_failures(f"Removing {self._working / kind}"):
            await anyio.to_thread.run_sync(remove_tree, self._working / kind)
        self._state = self._state.opened(kind, poll)
        await anyio.to_thread.run_sync(write_state, self._options.output, self._state)
        return poll

    def _is_fresh(self, name: str, polls: Sequence[PollSummary]) -> bool:
        """Whether one of the polls has an endpoint and was begun by this run."""
        return any(name in poll.tables and poll.number > self._polls_before for poll in polls)

    def _there(self, now: datetime) -> datetime:
        """A moment by the service's clock, as far as it is known."""
        return now + timedelta(seconds=self._state.clock_ahead)

    async def _fetch(self, kind: str, since: datetime | None, names: Sequence[str], directory: Path) -> Fetched:
        """Export a group into a directory, unless an earlier run did so."""
        if not await anyio.Path(directory / MANIFEST).exists():
            template = self._options.full if since is None else self._options.changes
            described = {endpoint.name: endpoint for endpoint in template.endpoints}
            wanted = replace(
                template,
                endpoints=tuple(
                    described_as_copied(described[name], table_of(self._options, name).schema) for name in names
                ),
                updated_since=since,
                output=directory,
                window=template.window if kind == FULL else None,
            )
            # A new copy waits until the window opens, since there is nothing else to do.
            waits = wanted.window is None or any(name not in self._state.marks for name in names)
            run = self._extracted if waits else self._extracted_until_closed
            try:
                await run(wanted)
            except (UsageError, DamagedState):
                if not await anyio.Path(directory).exists():
                    raise
                # Pages of another version of this program, of another description, or torn: they can be had again.
                self._remarks.append("Pages of an interrupted poll could not be used, and were fetched again.")
                await anyio.to_thread.run_sync(remove_tree, directory)
                await run(wanted)
        return Fetched(directory, await anyio.to_thread.run_sync(read_manifest, directory), since)

    async def _extracted(self, wanted: ExportOptions) -> None:
        try:
            await self._extract(wanted, self._observer, self._stop)
        except Interrupted:
            raise self._interrupted() from None

    async def _extracted_until_closed(self, wanted: ExportOptions) -> None:
        """Raises _WindowClosed where the window closes before it is done."""
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
            raise _WindowClosed if closed and not self._stop.is_set() else self._interrupted()
        if failure is not None:
            raise failure

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            "Interrupted.",
            kept=f"Every page that had arrived is kept in {self._options.output}.",
            next_step="The same command goes on from here.",
        )

    def _take_in(self, kind: str, poll: OpenPoll, groups: Sequence[Fetched]) -> PollSummary:
        """Merge what was fetched, move the watermarks, and log it."""
        started_at, ahead = started(poll, groups, self._state.clock_ahead)
        tables = take_in(self._options, poll, groups, started_at, is_overtaken=poll.number < self._state.polls)
        for name, table in tables.items():
            if table.consistent is False:
                self._remarks.append(f"{name}: the data kept changing, so a record may be missing until the next poll.")
        run = [group.manifest["run"] for group in groups]
        summary = PollSummary(
            number=poll.number,
            kind=kind,
            started_at=started_at,
            finished_at=self._there(self._clock()),
            requests=sum(counters["requests"] for counters in run),
            retries=sum(counters["retries"] for counters in run),
            throttled=sum(counters["throttled"] for counters in run),
            tables=tables,
        )
        marks = {name: self._state.marks.get(name, Watermark()) for name in tables}
        # Changes that may have been missed are asked for again; a full sync counts, but for what it says is gone.
        resumed = poll.number <= self._polls_before
        moved = {
            name: (mark.after_full if kind == FULL else mark.after_changes)(started_at, resumed=resumed)
            for name, mark in marks.items()
            if kind == FULL or tables[name].consistent is not False
        }
        state = self._state.closed(kind)
        if kind == FULL:
            # What another poll was about to bring is older than what was just seen.
            state = state.closed(CHANGES)
        entry = summary.to_json()
        self._state = replace(state, marks={**state.marks, **moved}, clock_ahead=ahead, last=entry)
        write_state(self._options.output, self._state)
        append_entry(self._options.output, entry)
        with local_failures(f"Removing {self._working / kind}"):
            remove_tree(self._working / kind)
        return summary


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
