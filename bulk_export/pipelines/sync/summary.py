"""What polls did, as programs read it in the log and people on the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from bulk_export.core.text import counted
from bulk_export.core.units import format_instant


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records of an endpoint a poll fetched, and what it changed in the table.

    `deleted` counts rows that an earlier poll had marked as removed and this one took out of the table.
    """

    fetched: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    deleted: int = 0

    @property
    def changes(self) -> int:
        """The number of rows of the table that were added, changed, marked or deleted."""
        return self.inserted + self.updated + self.removed + self.deleted


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What a poll did to one table.

    Attributes:
        counts: Records fetched and rows changed.
        requests: Requests for this endpoint, those of a second load included.
        since: The instant from which changes were asked for; None if everything was fetched.
        consistent: Whether two sweeps agreed, as in a manifest; None if one page showed everything.
        version: Version of the Delta table after the poll; None for a Parquet file.
    """

    counts: Counts
    requests: int
    since: datetime | None
    consistent: bool | None
    version: int | None

    def to_json(self) -> dict[str, Any]:
        """The table's part of a log entry."""
        since = None if self.since is None else format_instant(self.since)
        rest = {"consistent": self.consistent, "version": self.version}
        return {"requests": self.requests, "since": since, **asdict(self.counts), **rest}


@dataclass(frozen=True, slots=True)
class PollSummary:
    """A successful poll: its `kind` is `full` or `changes`, its times are by the service's clock."""

    number: int
    kind: str
    started_at: datetime
    finished_at: datetime
    requests: int
    retries: int
    throttled: int
    tables: Mapping[str, TableSummary]
    id: str = ""

    def total(self, name: str) -> int:
        """The sum of the count `name` (a field of `Counts`) over all tables."""
        return sum(getattr(table.counts, name) for table in self.tables.values())

    def to_json(self) -> dict[str, Any]:
        """The poll's entry in the log."""
        return {
            "poll": self.number,
            "id": self.id,
            "kind": self.kind,
            "started_at": format_instant(self.started_at),
            "finished_at": format_instant(self.finished_at),
            "requests": self.requests,
            "retries": self.retries,
            "throttled": self.throttled,
            **{name: self.total(name) for name in asdict(Counts())},
            "endpoints": {name: table.to_json() for name, table in self.tables.items()},
        }

    def line(self) -> str:
        """The poll as one line for people."""
        # Deletions of rows that were marked before are rare, and shown only if there are any.
        names = [name for name in asdict(Counts()) if name != "deleted" or self.total(name)]
        counts = ", ".join(f"{self.total(name):,} {name}" for name in names)
        is_idle = not any(table.counts.changes for table in self.tables.values())
        nothing = "; no changes" if is_idle else ""
        return f"poll {self.number}, {self.kind}: {counted(self.requests, 'request')}; {counts}{nothing}"


@dataclass(frozen=True, slots=True)
class SyncSummary:
    """The polls that one call made, and remarks for the person who runs it."""

    polls: Sequence[PollSummary]
    remarks: Sequence[str] = ()
