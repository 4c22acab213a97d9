"""The state of a copy between two polls: what it is a copy of, the watermarks, and polls that are not finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark

# The kinds of polls: of all records, and of changes only.
FULL, CHANGES = "full", "changes"

# The instant from which changes are requested (None for all records), and the endpoints.
Group = tuple[datetime | None, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OpenPoll:
    """A poll that is not finished.

    Attributes:
        number: Its number. It may come twice, if the state is restored from a backup.
        started_at: When it started, by our clock.
        groups: The endpoints to request, and since when, in the order of the exports.
        id: A random id; empty for a poll that an earlier version began.
        source: Distinguishes the token and address it was begun with from others.
    """

    number: int
    started_at: datetime
    groups: tuple[Group, ...]
    id: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class CopyState:
    """The state of a copy; `state_file` stores it in `sync.json`.

    Attributes:
        identity: The source of the copy: service, address, filters, a keyed hash of the token, and so on.
        watermarks: For each endpoint, the instant from which changes are requested.
        open_polls: Unfinished polls by kind, at most one of each.
        poll_number: Number of the last poll that was begun.
        clock_ahead: Seconds by which the service's clock was taken to be ahead of ours in the last poll.
        last_entry: The log entry of the last poll.
        table_marks: For each endpoint, its table as the last poll left it.
        default_schedule: The schedule of endpoints that have none of their own yet.
        clock_readings: How far the service's clock was ahead of ours in the last polls, in seconds.
        schedules: For each endpoint, how far apart its scheduled polls are.
    """

    identity: Mapping[str, Any]
    watermarks: Mapping[str, Watermark] = field(default_factory=dict)
    open_polls: Mapping[str, OpenPoll] = field(default_factory=dict)
    poll_number: int = 0
    clock_ahead: float = 0.0
    last_entry: Mapping[str, Any] | None = None
    table_marks: Mapping[str, TableMark] = field(default_factory=dict)
    default_schedule: PollSchedule = field(default_factory=PollSchedule)
    clock_readings: tuple[float, ...] = ()
    schedules: Mapping[str, PollSchedule] = field(default_factory=dict)

    def schedule_of(self, name: str, every: timedelta | None = None) -> PollSchedule:
        """The schedule of an endpoint, with the interval `every` if that is known."""
        schedule = self.schedules.get(name, self.default_schedule)
        return schedule if every is None else replace(schedule, every=every)

    def mark_of(self, name: str) -> TableMark:
        """The mark of a table. An earlier version kept none; its last log entry has the version of a Delta table."""
        if name in self.table_marks:
            return self.table_marks[name]
        version = (self.last_entry or {}).get("endpoints", {}).get(name, {}).get("version")
        return TableMark(version if type(version) is int and version >= 0 else None)

    def service_time(self, now: datetime) -> datetime:
        """An instant of our clock, by the service's clock."""
        return now + timedelta(seconds=self.clock_ahead)

    def with_open(self, kind: str, poll: OpenPoll) -> CopyState:
        """The state after a poll was begun."""
        return replace(self, open_polls={**self.open_polls, kind: poll}, poll_number=poll.number)

    def without_open(self, *kinds: str) -> CopyState:
        """The state without the unfinished polls of some kinds."""
        return replace(self, open_polls={kind: poll for kind, poll in self.open_polls.items() if kind not in kinds})
