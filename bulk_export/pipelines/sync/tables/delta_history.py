"""What polls note in the commits of a Delta table, and what the commits say about the table's state."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus

# Commits of others, and of compaction, may stand above the one of a poll.
LOOK_BACK = 20
_POLL = "bulk_export_poll"
# Operations that change no row.
_HARMLESS = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "FSCK")

# A commit as delta-rs shows it: its version, its operation and its metadata.
Commit = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PollNote:
    """The note of a poll in its commit. An earlier version wrote no id."""

    poll: int | None
    id: str
    counts: Counts

    def to_metadata(self) -> dict[str, str]:
        """The commit's custom metadata."""
        return {_POLL: json.dumps({"poll": self.poll, "id": self.id, "counts": asdict(self.counts)})}


def poll_note(commit: Commit) -> PollNote | None:
    """The note of a poll in a commit; None for a commit of anything else."""
    try:
        note = json.loads(commit.get(_POLL) or "{}")
        if not isinstance(note, dict) or "counts" not in note:
            return None
        return PollNote(note.get("poll"), note.get("id") or "", Counts(**note["counts"]))
    except (ValueError, TypeError):
        return None


def compare_with_mark(
    history: Iterable[Commit], version: int, mark: TableMark, open_polls: Container[str]
) -> TableStatus:
    """Compare a table with its mark in the state of the copy.

    1. Without a version in the mark, as an earlier version of this program left it, there is nothing to compare.
    2. A version below the mark's is a table that was restored: behind.
    3. Above the mark, polls may have committed. Those that are still open died before they were recorded, and will be
       recognised; any other poll makes the table ahead. A commit that is no poll's and may change rows: behind.
    4. At or below the mark, the first poll found has to be the mark's; another one belongs to another history: behind.

    Args:
        history: The commits, newest first, from `version` to beyond the mark's version.
        version: The version of the table.
        mark: The table as the last poll left it.
        open_polls: The ids of polls that are not finished.
    """
    if mark.version is None:
        return TableStatus.CURRENT
    if version < mark.version:
        return TableStatus.BEHIND
    status = TableStatus.CURRENT
    for commit in history:
        note, number = poll_note(commit), commit.get("version")
        if not isinstance(number, int):
            return TableStatus.BEHIND
        if number <= mark.version:
            if note is not None:
                return status if mark.poll_id is None or note.id == mark.poll_id else TableStatus.BEHIND
        elif note is not None:
            if note.id not in open_polls:
                status = TableStatus.AHEAD
        elif commit.get("operation") not in _HARMLESS:
            return TableStatus.BEHIND
    return status
