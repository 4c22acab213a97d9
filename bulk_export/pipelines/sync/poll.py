"""One poll from end to end: what is due is fetched as an export of its own, taken into the copy, and noted.

    look             the tables are compared with the state; what either lacks is asked for again
    open the poll    its start and what it asks from are in the state before its first request
    fetch            an ordinary export below `.bulk-export/`, which survives whatever an export survives
    ask twice        what a full load lacks is looked for in a second one
    merge            one transaction for each table; made again, it changes nothing
    note             the watermarks move in one write, then the log gets its line

Killed anywhere, the next run goes on from there. A poll that fails moves nothing: the next one asks from as far back.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.clock import TOLERANCE
from bulk_export.core.files import local_failures
from bulk_export.core.window_gate import utc_now
from bulk_export.errors import UsageError
from bulk_export.output.directory import inspect_output, locked_directory, prepare_output
from bulk_export.output.file_names import SYNC_STATE, WORKING_DIRECTORY
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines.sync.copy_safety import holds_copy, refuse_unsafe
from bulk_export.pipelines.sync.fetching import Extract, Fetching, WindowClosed, export_by
from bulk_export.pipelines.sync.log import PollSummary, append_entry
from bulk_export.pipelines.sync.merge import (
    MERGE,
    Fetched,
    clock_remark,
    clock_told,
    missing_from,
    remove_unused,
    started,
    take_in,
    tend,
)
from bulk_export.pipelines.sync.noting import moved, refuse_another_provider, removal_refused, table_marks
from bulk_export.pipelines.sync.opening import look_at_tables, open_copy
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.removals import Missing
from bulk_export.pipelines.sync.state import OpenPoll, write_state
from bulk_export.pipelines.sync.watermark import Watermark, same_since
from bulk_export.progress.observer import Observer

FULL, CHANGES = "full", "changes"
# What keeps a second process from polling at intervals in the same directory (`continually`).
DAEMON_LOCK = "daemon.lock"
_TOLERANCE = timedelta(seconds=TOLERANCE)


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
    every: timedelta | None = None,
    report: Callable[[SyncSummary], None] = lambda _: None,
) -> SyncSummary:
    """Bring the copy up to date, with a full sync where one is due, or go on with what was interrupted.

    When `stop` is set, what is on its way is kept and Interrupted is raised. Raises the exceptions of
    `bulk_export.errors`; whatever is raised, the next call goes on or covers what this one did not.
    `extract` takes the place of `pipeline.export`, `every` is what lies between two calls where that is known.
    `report` hears what is returned, also before RemovalRefused is raised.
    """
    run = extract or functools.partial(export_by, clock=clock)
    return await _Sync(options, observer or Observer(), stop or anyio.Event(), clock, run, every, report).run()


class _Sync:
    def __init__(
        self,
        options: SyncOptions,
        observer: Observer,
        stop: anyio.Event,
        clock: Callable[[], datetime],
        extract: Extract,
        every: timedelta | None,
        report: Callable[[SyncSummary], None],
    ) -> None:
        self._options = options
        self._every = every
        self._report = report
        self._clock = clock
        self._working = options.output / WORKING_DIRECTORY
        self._remarks: list[str] = []
        self._fetching = Fetching(options, observer, stop, clock, extract, self._remarks)
        self._refused: dict[str, Missing] = {}
        self._suspicious: set[str] = set()
        self._unproven: Mapping[str, str] = {}

    async def run(self) -> SyncSummary:
        if not holds_copy(self._options.output) and inspect_output(self._options.output):
            raise UsageError(
                f"{self._options.output} holds a finished export.",
                kept="Nothing was changed.",
                next_step="Choose another --output for the copy.",
            )
        with ExitStack() as stack:
            await anyio.to_thread.run_sync(prepare_output, self._options.output)
            stack.enter_context(locked_directory(self._options.output))
            stack.callback(_remove_if_empty, self._working)
            await anyio.to_thread.run_sync(self._open)
            polls, names = [], [endpoint.name for endpoint in self._options.full.endpoints]
            there = self._there(self._clock())
            self._periods = {name: self._state.rhythm_of(name, self._every).period(there) for name in names}
            if due := self._due_in_full(names):
                try:
                    polls.append(await self._poll(FULL, due))
                except WindowClosed:
                    self._remarks.append("The full sync goes on in the next window.")
            # A poll that an earlier run began shows the service as it was then, so another one follows it.
            while not self._unproven and (
                rest := [name for name in names if name in self._state.marks and not self._is_fresh(name, polls)]
            ):
                polls.append(await self._poll(CHANGES, rest))
            if not self._state.open:
                await anyio.to_thread.run_sync(self._clear)
                # Files of a table whose log is lost are in no version of the one that took its place.
                await anyio.to_thread.run_sync(remove_unused, self._options, self._gone)
        summary = SyncSummary(polls, self._remarks)
        self._report(summary)
        if self._refused:
            raise removal_refused(self._refused)
        return summary

    def _open(self) -> None:
        refuse_unsafe(self._options.output, [endpoint.name for endpoint in self._options.full.endpoints])
        opened = open_copy(self._options)
        self._state, self._source, self._unproven = opened.state, opened.source, opened.unproven
        now = self._there(self._clock())
        self._state, self._gone = look_at_tables(self._options, opened.state, now, self._remarks)
        self._polls_before = self._state.polls

    def _clear(self) -> None:
        """Remove what polls left in the working directory."""
        with local_failures(f"Clearing {self._working}"):
            for name in (FULL, CHANGES, MERGE):
                remove_tree(self._working / name)
            # What a crash left of files that were about to take their places, or to be tried out.
            for begun in (f".{SYNC_STATE}.*", "probe.*"):
                for file in self._working.glob(begun):
                    file.unlink(missing_ok=True)

    def _due_in_full(self, names: Sequence[str]) -> list[str]:
        """The endpoints to be swept whole now. Those never seen wait for the window, others go without it."""
        now = self._clock()
        there = self._there(now)
        marks = self._state.marks
        due = [name for name in names if self._is_due_in_full(name, there)]
        window = self._options.full.window
        if window is None or window.open_at(now):
            return due
        if self._unproven:
            raise UsageError(
                f"A copy that goes on with another token or address needs a full sync, and the window {window} is"
                " closed.",
                kept="Nothing was changed.",
                next_step="Run this in the window, or once without --between.",
            )
        new = [name for name in due if name not in marks]
        if due and not new:
            self._remarks.append(f"A full sync is due, and waits for the window {window}.")
        return new

    def _is_due_in_full(self, name: str, there: datetime) -> bool:
        """Whether the last full sync is too old, proved nothing, or left rows that are to be deleted now."""
        if self._state.marks.get(name, Watermark()).is_full_due(there, self._options.full_every):
            return True
        return self._options.removed == "delete" and self._state.table(name).removed != "delete"

    async def _poll(self, kind: str, names: Sequence[str]) -> PollSummary:
        poll = self._state.open.get(kind)
        if poll is None or not self._can_go_on(poll, names):
            poll = await self._begin(kind, names)
        room = self._working / kind / poll.id
        # A new copy waits until the window opens, since there is nothing else to do.
        fetch = functools.partial(
            self._fetching.fetch, in_window=kind == FULL, waits=any(name not in self._state.marks for name in names)
        )
        groups = [await fetch(since, group, room / str(number)) for number, (since, group) in enumerate(poll.groups)]
        doubts = await anyio.to_thread.run_sync(self._doubts, poll, groups)
        again = {name: await fetch(None, [name], room / f"again-{name}", wider=first) for name, first in doubts}
        summary = await anyio.to_thread.run_sync(self._take_in, kind, poll, groups, again)
        await anyio.to_thread.run_sync(tend, self._options, names)
        return summary

    def _can_go_on(self, poll: OpenPoll, names: Sequence[str]) -> bool:
        """Whether a poll that an earlier run began asks for what is wanted, from a time that is not in the future."""
        if {name for _, group in poll.groups for name in group} != set(names):
            return False
        if poll.source != self._source and (poll.source or self._unproven):
            return False
        latest = self._there(self._clock()) + _TOLERANCE
        return all(moment is None or moment <= latest for moment in (poll.started_at, *(one for one, _ in poll.groups)))

    def _doubts(self, poll: OpenPoll, groups: Sequence[Fetched]) -> list[tuple[str, Fetched]]:
        """The endpoints of which a load lacks so much, or told it so briefly, that they are asked for once more."""
        started_at, _ = started(poll, groups, self._state)
        overtaken, options = poll.number < self._state.polls, self._options
        doubts = []
        for group in groups:
            for name in group.manifest["endpoints"]:
                missing = missing_from(options, poll, group, name, started_at, is_overtaken=overtaken)
                if missing.rows and (group.is_one_answer(name) or missing.is_beyond(options.max_removed)):
                    doubts.append((name, group))
                if missing.is_beyond(options.max_removed):
                    self._suspicious.add(name)
        return doubts

    async def _begin(self, kind: str, names: Sequence[str]) -> OpenPoll:
        """Note a new poll, in place of one that was left for another question."""
        now = self._clock()
        whole = names if kind == FULL else [one.name for one in self._options.full.endpoints if one.since is None]
        groups = same_since(self._state.marks, names, whole, self._there(now), self._periods)
        poll = OpenPoll(self._state.polls + 1, now, tuple(groups), secrets.token_hex(16), self._source)
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

    def _take_in(
        self, kind: str, poll: OpenPoll, groups: Sequence[Fetched], again: Mapping[str, Fetched]
    ) -> PollSummary:
        """Merge what was fetched, move the watermarks, and log it."""
        started_at, ahead = started(poll, groups, self._state)
        if (remark := clock_remark(groups, ahead)) is not None:
            self._remarks.append(remark)
        overtaken = poll.number < self._state.polls
        if self._unproven and not self._options.accepts_removals:
            refuse_another_provider(self._options, list(self._unproven), poll, groups, again, started_at)
        taken = take_in(self._options, poll, groups, again, started_at, is_overtaken=overtaken)
        tables = {name: one.summary for name, one in taken.items()}
        for name, table in tables.items():
            if table.consistent is False:
                full = ", which is a full sync again" if kind == FULL else ""
                self._remarks.append(
                    f"{name}: the data kept changing, so a record may be missing until the next poll{full}."
                )
            if name in again and name in self._suspicious and taken[name].refused is None:
                self._remarks.append(f"{name}: many records were not shown at first; the next poll is a full sync.")
            if taken[name].is_doubted:
                self._remarks.append(
                    f"{name}: the list may go on behind its last page, so nothing was taken for removed; the next"
                    " poll is a full sync."
                )
        self._refused |= {name: one.refused for name, one in taken.items() if one.refused is not None}
        run = [group.manifest["run"] for group in (*groups, *again.values())]
        summary = PollSummary(
            number=poll.number,
            kind=kind,
            started_at=started_at,
            finished_at=max(started_at, self._clock() + timedelta(seconds=ahead)),
            requests=sum(counters["requests"] for counters in run),
            retries=sum(counters["retries"] for counters in run),
            throttled=sum(counters["throttled"] for counters in run),
            tables=tables,
            id=poll.id,
        )
        state = self._state.closed(kind)
        if kind == FULL:
            # What another poll was about to bring is older than what was just seen.
            state = state.closed(CHANGES)
        entry = summary.to_json()
        resumed = poll.number <= self._polls_before
        marks = moved(state, taken, started_at, is_full=kind == FULL, resumed=resumed, doubted=self._suspicious)
        rhythms = {
            name: state.rhythm_of(name, self._every)
            if resumed
            else state.rhythm_of(name).after(started_at, self._every)
            for name in taken
        }
        self._state = replace(
            state,
            identity={**state.identity, **self._unproven},
            marks={**state.marks, **marks},
            clock_ahead=ahead,
            clock_told=clock_told(groups, self._state),
            last=entry,
            tables={**state.tables, **table_marks(state, taken, self._options.removed, is_full=kind == FULL)},
            rhythms={**state.rhythms, **rhythms},
        )
        self._unproven = {}
        write_state(self._options.output, self._state)
        append_entry(self._options.output, entry)
        with local_failures(f"Removing {self._working / kind}"):
            remove_tree(self._working / kind)
        return summary


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
