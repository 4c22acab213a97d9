"""The record of each poll: an object on a line of its own in the copy, and a sentence for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bulk_export.core.files import local_failures, open_regular, write_atomically
from bulk_export.core.units import format_instant
from bulk_export.pipelines.sync.diff import Counts

LOG = "sync-log.jsonl"
_LONGEST_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TableSummary:
    """What a poll did to one table. `since` is what it asked from, None for everything; `consistent` as in a manifest.

    `version` is that of the Delta table after it.
    """

    counts: Counts
    requests: int
    since: datetime | None
    consistent: bool | None
    version: int | None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the log."""
        since = None if self.since is None else format_instant(self.since)
        rest = {"consistent": self.consistent, "version": self.version}
        return {"requests": self.requests, "since": since, **asdict(self.counts), **rest}


@dataclass(frozen=True, slots=True)
class PollSummary:
    """A successful poll, of everything (`full`) or of `changes`; `started_at` by the service's clock."""

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
        """One of the counts over all tables."""
        return sum(getattr(table.counts, name) for table in self.tables.values())

    def to_json(self) -> dict[str, Any]:
        """As it stands in the log."""
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
        """As a person reads it."""
        # What is deleted that was marked before is worth a word only where there is any.
        names = [name for name in asdict(Counts()) if name != "deleted" or self.total(name)]
        counts = ", ".join(f"{self.total(name):,} {name}" for name in names)
        return f"poll {self.number}, {self.kind}: {self.requests:,} requests; {counts}"


def append_entry(directory: Path, entry: Mapping[str, Any]) -> None:
    """Add an entry to the log, unless it is there already; a line that a crash left torn is taken away."""
    path = directory / LOG
    with local_failures(f"Writing {path}"):
        if os.path.lexists(path) and path.lstat().st_nlink > 1:
            # A second name, as in a backup made of hard links, keeps what it shows.
            with os.fdopen(open_regular(path), "rb") as file:
                write_atomically(path, file.read())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            end = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, end - _LONGEST_LINE))
            tail = file.read()
            whole = tail.rfind(b"\n") + 1
            file.truncate(start + whole)
            # A state that was restored from a backup may be older than several lines.
            if _name_of(entry) not in map(_read_name, tail[:whole].split(b"\n")):
                file.seek(0, os.SEEK_END)
                file.write(json.dumps(entry, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _name_of(entry: Mapping[str, Any]) -> object:
    """What tells an entry from others: the id of its poll, or its number in one of an earlier version."""
    return entry.get("id") or entry.get("poll")


def _read_name(line: bytes) -> object:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return _name_of(found) if isinstance(found, dict) else None
