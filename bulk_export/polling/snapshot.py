"""A table as one Parquet file with what is current, replaced as a whole: readers have the old one or the new one."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.errors import DamagedState
from bulk_export.files import local_failures, make_private_directory, sync_directory
from bulk_export.polling.difference import Counts, Difference

FILE = "part-00000.parquet"
_POLL = b"bulk-export"
_ROW_GROUP = 64 * 1024


class Snapshot:
    """The file in the directory `path`; new ones are written in `scratch`, on the same file system."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self._path = path / FILE
        self._scratch = scratch
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._done: tuple[int, Counts] | None = None
        if self._path.exists():
            self._read()

    @property
    def version(self) -> int | None:
        """None: there is no other version than the current one."""
        return None

    def applied(self, poll: int) -> Counts | None:
        """What the poll of that number did, if it was the last to write the file."""
        return self._done[1] if self._done is not None and self._done[0] == poll else None

    def apply(self, difference: Difference, poll: int, *, delete_removed: bool) -> None:
        """Write the table anew, and put it in place of the old one."""
        if not difference.counts.changes and self.files:
            return
        said = {"poll": poll, "counts": asdict(difference.counts)}
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
            written = pq.read_schema(self._path)
            said = json.loads((written.metadata or {})[_POLL])
            self._done = int(said["poll"]), Counts(**said["counts"])
        except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
            raise DamagedState(
                f"{self._path} is not a file that a poll wrote ({type(error).__name__}).",
                kept="Nothing was deleted.",
                next_step="Restore it from a backup, or choose another --output to start a new copy.",
            ) from None
        self.schema, self.files = written.remove_metadata(), (self._path,)
