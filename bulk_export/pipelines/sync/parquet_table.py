"""A table as one Parquet file with what is current, replaced as a whole: readers have the old one or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.files import local_failures, make_private_directory, sync_directory
from bulk_export.errors import DamagedState
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.copied_table import Standing
from bulk_export.pipelines.sync.diff import Counts, TableDiff
from bulk_export.pipelines.sync.state import TableMark

FILE = "part-00000.parquet"
_POLL = b"bulk-export"
_ROW_GROUP = 64 * 1024
# The polls before the last one that a file names, so that it can be told from one of another course of events.
_REMEMBERED = 200


class ParquetCopyTable:
    """The file in the directory `path`; new ones are written in `scratch`, on the same file system."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path / FILE
        self._scratch = scratch
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._done: tuple[TableMark, Counts] | None = None
        # The ids of the polls that wrote the file before, the last one first.
        self._before: tuple[str, ...] = ()
        if self._path.exists():
            self._read()

    @property
    def version(self) -> int | None:
        """None: there is no other version than the current one."""
        return None

    @property
    def mark(self) -> TableMark:
        """The last poll that wrote the file."""
        return TableMark() if self._done is None else self._done[0]

    def standing(self, mark: TableMark, under_way: Container[str]) -> Standing:
        """How the file compares with what was noted of it, by the poll that wrote it."""
        if self._done is None:
            return Standing.ABSENT
        done = self._done[0]
        if mark.poll is None or done.poll == mark.poll or done.poll in under_way:
            return Standing.KNOWN
        # A higher number alone may be from before a backup was restored, and lack what was noted since.
        return Standing.AHEAD if mark.poll in self._before else Standing.BEHIND

    def applied(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did, if it was the last to write the file. One without an id goes by its number."""
        if self._done is None:
            return None
        mark, counts = self._done
        return counts if (mark.poll == poll_id if poll_id else mark.number == poll) else None

    def apply(self, difference: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Write the table anew, and put it in place of the old one."""
        if not difference.counts.changes and self.files:
            return
        before = () if self._done is None else (self._done[0].poll, *self._before)
        said = {
            "poll": poll,
            "id": poll_id,
            "counts": asdict(difference.counts),
            "before": [one for one in before if one][:_REMEMBERED],
        }
        rows = difference.merged(delete_removed=delete_removed)
        new = self._scratch / FILE
        with local_failures(f"Writing {self._path}"):
            make_private_directory(self._path.parent)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                plain = rows.schema.with_metadata({_POLL: json.dumps(said).encode()})
                with pq.ParquetWriter(file, plain, compression="zstd", write_statistics=[]) as writer:
                    for batch in rows:
                        writer.write_batch(batch, row_group_size=_ROW_GROUP)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            sync_directory(self._path.parent)
        self._read()

    def _read(self) -> None:
        try:
            written = schema_of(self._path)
            said = json.loads((written.metadata or {})[_POLL])
            self._done = TableMark(None, said.get("id") or None, int(said["poll"])), Counts(**said["counts"])
            self._before = tuple(map(str, said.get("before", ())))
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedState(
                f"{self._path} is not a file that a poll wrote ({type(error).__name__}).",
                kept="Nothing was deleted.",
                next_step=f"Restore it from a backup, or remove {self._path.parent}: the next sync fetches it whole.",
            ) from None
        self.schema, self.files = written.remove_metadata(), (self._path,)
