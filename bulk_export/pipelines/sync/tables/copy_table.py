"""The interface of a table of a copy, whichever format it is stored in."""

from __future__ import annotations

import enum
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.diff import TableDiff


@dataclass(frozen=True, slots=True)
class TableMark:
    """A table as the last poll that included it left it. `sync.json` keeps one for each table.

    Attributes:
        version: Version of a Delta table; None for a Parquet file.
        poll_id: Id of the poll that wrote the table last, if known.
        poll_number: Number of that poll, if known.
        removed: What the last full sync did with records that went away, `mark` or `delete`.
    """

    version: int | None = None
    poll_id: str | None = None
    poll_number: int | None = None
    removed: str | None = None


class TableStatus(enum.Enum):
    """How a table compares with its mark in `sync.json`."""

    CURRENT = "as the last poll left it"
    AHEAD = "newer than the state"
    BEHIND = "older than the state, or changed by somebody else"
    ABSENT = "not there"


class CopyTable(Protocol):
    """One table. Before its first poll, `schema` is None and `files` is empty."""

    schema: pa.Schema | None
    files: tuple[Path, ...]

    @property
    def version(self) -> int | None:
        """The current version of a Delta table; None for other formats and before the first poll."""

    @property
    def mark(self) -> TableMark:
        """The table's mark, to be kept in the state."""

    def status(self, mark: TableMark, open_polls: Container[str]) -> TableStatus:
        """Compare the table with its mark; `open_polls` are the ids of unfinished polls, which may have written it.

        Raises:
            DamagedState: A file of the table is missing or truncated.
        """

    def counts_of(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did to the table; None if it has not been merged. Without an id, the poll's number decides."""

    def apply(self, diff: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Write the changes of a poll in one step, so that readers see all of them or none.

        Raises:
            LocalFailure: The table cannot be written.
        """
