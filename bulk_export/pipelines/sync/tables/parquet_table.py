"""A table as one Parquet file with the current rows, replaced as a whole: readers see the old file or the new one."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.compat.opening import open_file
from bulk_export.core.files import local_failures, make_private_directory, sync_directory
from bulk_export.errors import DamagedState
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus
from bulk_export.pipelines.sync.tables.diff import TableDiff

FILE = "part-00000.parquet"
_POLL = b"bulk-export"
_ROW_GROUP = 64 * 1024
# How many earlier polls a file names, so that a file of another history can be recognised.
_REMEMBERED = 200


class ParquetCopyTable:
    """A `CopyTable` in the directory `path`. New files are written in `scratch`, on the same file system."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path / FILE
        self._scratch = scratch
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._last: tuple[TableMark, Counts] | None = None
        # The ids of the polls that wrote the file before the last one, newest first.
        self._earlier_polls: tuple[str, ...] = ()
        if self._path.exists():
            self._read()

    @property
    def version(self) -> int | None:
        """None: a Parquet file has no versions."""
        return None

    @property
    def mark(self) -> TableMark:
        """The last poll that wrote the file."""
        return TableMark() if self._last is None else self._last[0]

    def status(self, mark: TableMark, open_polls: Container[str]) -> TableStatus:
        """Compare the file with its mark, by the poll that wrote it."""
        if self._last is None:
            return TableStatus.ABSENT
        last, _ = self._last
        if mark.poll_id is None or last.poll_id == mark.poll_id or last.poll_id in open_polls:
            return TableStatus.CURRENT
        # A higher number proves nothing: the file may be from before a backup was restored, and lack later changes.
        return TableStatus.AHEAD if mark.poll_id in self._earlier_polls else TableStatus.BEHIND

    def counts_of(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did, if it was the last to write the file."""
        if self._last is None:
            return None
        mark, counts = self._last
        return counts if (mark.poll_id == poll_id if poll_id else mark.poll_number == poll) else None

    def apply(self, diff: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Write a new file, and put it in place of the old one. Without changes the old one stays."""
        if not diff.counts.changes and self.files:
            return
        earlier = () if self._last is None else (self._last[0].poll_id, *self._earlier_polls)
        note = {
            "poll": poll,
            "id": poll_id,
            "counts": asdict(diff.counts),
            "before": [earlier_id for earlier_id in earlier if earlier_id][:_REMEMBERED],
        }
        rows = diff.table_rows(delete_removed=delete_removed)
        new = self._scratch / FILE
        with local_failures(f"Writing {self._path}"):
            make_private_directory(self._path.parent)
            descriptor = open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            with os.fdopen(descriptor, "wb") as file:
                columns = rows.schema.with_metadata({_POLL: json.dumps(note).encode()})
                with pq.ParquetWriter(file, columns, compression="zstd", write_statistics=[]) as writer:
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
            note = json.loads((written.metadata or {})[_POLL])
            self._last = TableMark(None, note.get("id") or None, int(note["poll"])), Counts(**note["counts"])
            self._earlier_polls = tuple(map(str, note.get("before", ())))
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedState(
                f"{self._path} is not a file that a poll wrote ({type(error).__name__}).",
                kept="Nothing was deleted.",
                next_step=f"Restore it from a backup, or remove {self._path.parent}: the next sync fetches all of it.",
            ) from None
        self.schema, self.files = written.remove_metadata(), (self._path,)
