"""The results of a merged poll: its summary, remarks, and the state for the next poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bulk_export.pipelines.sync.confirm_removals import MissingRecords
from bulk_export.pipelines.sync.fetch import FetchedPoll
from bulk_export.pipelines.sync.merge import MergeResult
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.service_clock import clock_readings
from bulk_export.pipelines.sync.state import CHANGES, FULL, CopyState
from bulk_export.pipelines.sync.summary import PollSummary
from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark


@dataclass(frozen=True, slots=True)
class MergedPoll:
    """A poll whose loads are in the tables.

    Attributes:
        kind: `full` or `changes`.
        fetched: What it fetched.
        results: The result of each table.
        untrusted: Endpoints whose first load lacked more records than may be removed.
        is_resumed: Whether an earlier run began it.
    """

    kind: str
    fetched: FetchedPoll
    results: Mapping[str, MergeResult]
    untrusted: frozenset[str]
    is_resumed: bool

    @property
    def refused(self) -> dict[str, MissingRecords]:
        """The removals that were refused, by endpoint."""
        return {name: result.refused for name, result in self.results.items() if result.refused is not None}

    def summary(self, finished_at: datetime) -> PollSummary:
        """The poll's summary; `finished_at` is by the service's clock."""
        fetched = self.fetched
        runs = [load.manifest["run"] for load in (*fetched.loads, *fetched.second_loads.values())]
        return PollSummary(
            number=fetched.poll.number,
            kind=self.kind,
            started_at=fetched.started_at,
            finished_at=max(fetched.started_at, finished_at),
            requests=sum(run["requests"] for run in runs),
            retries=sum(run["retries"] for run in runs),
            throttled=sum(run["throttled"] for run in runs),
            tables={name: result.summary for name, result in self.results.items()},
            id=fetched.poll.id,
        )

    def remarks(self) -> list[str]:
        """What the person who runs the poll should know of its tables."""
        remarks = []
        for name, result in self.results.items():
            if result.summary.consistent is False:
                full = ", which is a full sync again" if self.kind == FULL else ""
                remarks.append(f"{name}: the data kept changing, so a record may be missing until the next poll{full}.")
            if name in self.untrusted and result.refused is None:
                remarks.append(f"{name}: many records were not shown at first; the next poll is a full sync.")
            if result.is_end_uncertain:
                remarks.append(
                    f"{name}: the list may go on behind its last page, so no record was removed; the next"
                    " poll is a full sync."
                )
        return remarks


def state_after(
    state: CopyState,
    merged: MergedPoll,
    summary: PollSummary,
    options: SyncOptions,
    *,
    every: timedelta | None,
    new_identity: Mapping[str, str],
) -> CopyState:
    """Return the state after a poll.

    Args:
        state: The state in which the poll was open.
        merged: The poll.
        summary: Its summary.
        options: The options of the poll.
        every: The time between two polls, if known.
        new_identity: The token or address that the poll has proven.
    """
    # After a full sync, what an open poll for changes was about to merge is older than what was just seen.
    closed = (FULL, CHANGES) if merged.kind == FULL else (CHANGES,)
    return replace(
        state.without_open(*closed),
        identity={**state.identity, **new_identity},
        watermarks={**state.watermarks, **_watermarks(state, merged)},
        clock_ahead=merged.fetched.clock_ahead,
        clock_readings=clock_readings(merged.fetched.loads, state),
        last_entry=summary.to_json(),
        table_marks={**state.table_marks, **_table_marks(state, merged, options.removed)},
        schedules={**state.schedules, **_schedules(state, merged, every)},
    )


def _watermarks(state: CopyState, merged: MergedPoll) -> dict[str, Watermark]:
    """Advance the watermarks.

    1. After a full sync. It is due again if sweeps disagreed, or if its removals are not certain.
    2. After a poll for changes whose sweeps agreed.
    3. After one whose sweeps did not: the watermark stays, so that the same changes are asked for again.
    """
    watermarks, started_at = {}, merged.fetched.started_at
    for name, result in merged.results.items():
        watermark = state.watermarks.get(name, Watermark())
        if merged.kind == FULL:
            watermark = watermark.after_full(started_at, resumed=merged.is_resumed)
            if not result.is_complete or name in merged.untrusted:
                watermark = watermark.with_full_due()
        elif result.summary.consistent is not False:
            watermark = watermark.after_changes(started_at, resumed=merged.is_resumed)
        watermarks[name] = watermark
    return watermarks


def _table_marks(state: CopyState, merged: MergedPoll, removed: str) -> dict[str, TableMark]:
    """Mark the tables, with what the last complete full sync did with removed records."""
    return {
        name: replace(
            result.mark,
            removed=removed if merged.kind == FULL and result.is_complete else state.mark_of(name).removed,
        )
        for name, result in merged.results.items()
    }


def _schedules(state: CopyState, merged: MergedPoll, every: timedelta | None) -> dict[str, PollSchedule]:
    """Advance the schedules. A poll that an earlier run began started outside of any schedule of this one."""
    return {
        name: state.schedule_of(name, every)
        if merged.is_resumed
        else state.schedule_of(name).after(merged.fetched.started_at, every)
        for name in merged.results
    }
