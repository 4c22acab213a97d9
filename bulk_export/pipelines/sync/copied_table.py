"""What a poll needs of a table of the copy, whatever it is kept in."""

from __future__ import annotations

import enum
from collections.abc import Container
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from bulk_export.pipelines.sync.diff import Counts, TableDiff
from bulk_export.pipelines.sync.state import TableMark


class Standing(enum.Enum):
    """How a table compares with what the state of the copy says of it."""

    KNOWN = "as the last poll left it"
    AHEAD = "newer than the state"
    BEHIND = "older than the state, or changed by somebody else"
    ABSENT = "not there"


class CopyTable(Protocol):
    """One table. `schema` is None and `files` are none until the first poll."""

    schema: pa.Schema | None
    files: tuple[Path, ...]

    @property
    def version(self) -> int | None:
        """The number of its version, None where it has none."""

    @property
    def mark(self) -> TableMark:
        """What the state is to remember of the table as it is."""

    def standing(self, mark: TableMark, under_way: Container[str]) -> Standing:
        """How it compares with what was noted of it, `under_way` being the ids of polls that are not done.

        Raises DamagedState where a file of it is missing or cut.
        """

    def applied(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did to it, None where it did nothing yet. One without an id goes by its number."""

    def apply(self, difference: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Take the changes of a poll in, all at once for whoever reads. Raises LocalFailure."""
