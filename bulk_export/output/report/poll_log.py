"""The last polls of a copy, as its log has them. A line that cannot be read is passed over."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bulk_export.core.files import local_failures, open_regular
from bulk_export.output.file_names import SYNC_LOG

# What is read of a log, from its end.
_LARGEST = 8 << 20
MOST_POLLS = 240
CHANGES = ("inserted", "updated", "removed", "deleted")


@dataclass(frozen=True, slots=True)
class PollOfList:
    """What a poll did to the table of one list; `consistent` is False if its sweeps did not agree."""

    fetched: int
    inserted: int
    updated: int
    removed: int
    deleted: int
    consistent: bool | None


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll that succeeded; its times are by the service's clock."""

    number: int
    kind: str
    started_at: datetime
    finished_at: datetime
    requests: int
    retries: int
    throttled: int
    lists: Mapping[str, PollOfList]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    def total(self, name: str) -> int:
        """The sum of a count over all lists."""
        return sum(getattr(of_list, name) for of_list in self.lists.values())


def last_polls(directory: Path) -> list[Poll]:
    """Read the last polls of a copy, in order; none if there is no log.

    Raises:
        LocalFailure: The log cannot be read.
    """
    path = directory / SYNC_LOG
    if not os.path.lexists(path):
        return []
    with local_failures(f"Reading {path}"), os.fdopen(open_regular(path), "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - _LARGEST))
        lines = file.read(_LARGEST).split(b"\n")
    # The first line may have begun before what was read.
    return list(_polls(lines[end > _LARGEST :]))[-MOST_POLLS:]


def _polls(lines: list[bytes]) -> Iterator[Poll]:
    for line in lines:
        try:
            entry = json.loads(line)
            yield Poll(
                number=_count(entry["poll"]),
                kind=str(entry["kind"]),
                started_at=_moment(entry["started_at"]),
                finished_at=_moment(entry["finished_at"]),
                requests=_count(entry["requests"]),
                retries=_count(entry.get("retries", 0)),
                throttled=_count(entry.get("throttled", 0)),
                lists={str(name): _of_list(counts) for name, counts in entry["endpoints"].items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            continue


def _of_list(counts: Mapping[str, Any]) -> PollOfList:
    consistent = counts.get("consistent")
    fetched, inserted, updated, removed, deleted = (_count(counts.get(name, 0)) for name in ("fetched", *CHANGES))
    known = consistent if isinstance(consistent, bool) else None
    return PollOfList(fetched, inserted, updated, removed, deleted, known)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("no count")
    return value
