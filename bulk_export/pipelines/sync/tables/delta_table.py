"""A table as a Delta table: one transaction for each poll, and all versions before it.

1. delta-rs merges changed rows by key.
2. It cannot merge when the type of a nested column grows (deltalake 1.6 would empty that column in all rows it carries
   over), when rows share their key, or when a name has a backtick. Then one transaction replaces all rows.

A data file is rewritten as a whole when a row in it changes. Files are therefore small, so that a few changes in a
large table rewrite a few of them.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from bulk_export.core.files import make_private_directory, private_umask
from bulk_export.core.text import counted
from bulk_export.errors import BulkExportError, DamagedState, LocalFailure
from bulk_export.output.delta_files import LOG, check_path, data_files, files_of, unused_files
from bulk_export.output.duckdb_sql import missing_extra, name
from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus
from bulk_export.pipelines.sync.tables.delta_history import LOOK_BACK, PollNote, compare_with_mark, poll_note
from bulk_export.pipelines.sync.tables.diff import EXTRA, TableDiff
from bulk_export.pipelines.sync.tables.schema import keeps_columns
from bulk_export.pipelines.sync.tables.storage_errors import disk_full
from bulk_export.transform import schema

try:
    from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError
except ImportError:
    raise missing_extra(EXTRA) from None

logger = logging.getLogger(__name__)

# The name of the class that delta-rs raises when its own code panics; it is not an Exception.
_PANIC = "PanicException"
# Bytes of a data file, about 5,000 records. More small files than this are put together.
_FILE_SIZE = 256 * 1024
_MOST_SMALL_FILES = 64
_SIZE = "delta.targetFileSize"
_CONFIGURATION = {
    # The history ends where its owner ends it, by --vacuum.
    "delta.logRetentionDuration": "interval 36500 days",
    # Least and greatest values would be readable in the log.
    "delta.dataSkippingNumIndexedCols": "0",
    _SIZE: str(_FILE_SIZE),
}


class DeltaCopyTable:
    """A `CopyTable` in the directory `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._location = check_path(path)
        self._table: DeltaTable | None = None
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._read()

    @property
    def version(self) -> int | None:
        """The current version; None before the first poll."""
        return None if self._table is None else self._table.version()

    @property
    def mark(self) -> TableMark:
        """The current version, and the last poll that wrote it."""
        notes = (poll_note(commit) for commit in self._history(LOOK_BACK))
        last = next((note for note in notes if note is not None), None)
        return TableMark(self.version) if last is None else TableMark(self.version, last.id or None, last.poll)

    def status(self, mark: TableMark, open_polls: Container[str]) -> TableStatus:
        """Compare the table with its mark: its version, and who committed that and the versions since."""
        if self._table is None:
            return TableStatus.ABSENT
        self._check_files(self._table)
        version = self._table.version()
        newer = 0 if mark.version is None else max(0, version - mark.version)
        return compare_with_mark(self._history(newer + LOOK_BACK), version, mark, open_polls)

    def counts_of(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did, if its transaction is among the last ones."""
        for commit in self._history(LOOK_BACK):
            note = poll_note(commit)
            if note is not None and (note.id == poll_id if poll_id else note.poll == poll):
                return note.counts
        return None

    def apply(self, diff: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Commit the changes of a poll. Without changes there is no new version."""
        if self._table is not None and not diff.counts.changes:
            return
        note = PollNote(poll, poll_id, diff.counts)
        properties = CommitProperties(custom_metadata=note.to_metadata())
        with self._failures("Writing"), private_umask():
            if self._table is None:
                self._create(diff, properties)
            elif (has_small_files := _SIZE in self._table.metadata().configuration) and self._can_merge(diff):
                self._merge(self._table, diff, properties, delete_removed=delete_removed)
            else:
                # An earlier version wrote one large file, which any change would rewrite.
                self._replace(self._table, diff, properties, delete_removed=delete_removed)
                if not has_small_files:
                    self._table.alter.set_table_properties({_SIZE: _CONFIGURATION[_SIZE]})
        self._read()

    def compact(self) -> None:
        """Rewrite small data files as fewer larger ones."""
        with self._failures("Compacting"), private_umask():
            if self._table is not None:
                self._table.optimize.compact(target_size=_FILE_SIZE, writer_properties=_writing())
        self._read()

    @property
    def is_scattered(self) -> bool:
        """Whether there are so many small data files that reading them takes noticeable time."""
        with self._failures("Reading"):
            return sum(1 for file in self.files if file.stat().st_size < _FILE_SIZE // 4) > _MOST_SMALL_FILES

    def vacuum(self, older_than: timedelta) -> None:
        """End the history: remove data files that only versions older than `older_than` need."""
        with self._failures("Cleaning"), private_umask():
            if self._table is not None:
                hours = int(older_than / timedelta(hours=1))
                self._table.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False)
        self._read()

    def remove_unused(self) -> int:
        """Remove data files that are in no version, as a killed merge leaves them, and return their number.

        Nobody else may be writing to the table.
        """
        with self._failures("Cleaning"):
            unused = unused_files(self._path, set(self.files))
            for file in unused:
                file.unlink(missing_ok=True)
        return len(unused)

    def _can_merge(self, diff: TableDiff) -> bool:
        return (
            self.schema is not None
            and keeps_columns(self.schema, diff.schema)
            and diff.is_by_key
            and all(len(path) == 1 for path in diff.key)
            # delta-rs parses the names of columns as expressions.
            and not any("`" in column for column in diff.schema.names)
        )

    def _history(self, limit: int) -> list[dict[str, Any]]:
        if self._table is None:
            return []
        with self._failures("Reading"):
            return self._table.history(limit)

    def _check_files(self, table: DeltaTable) -> None:
        """Raise DamagedState if a data file of the current version is missing or has another size."""
        with self._failures("Reading"):
            wrong = [
                file.name
                for file, size in data_files(table, self._path)
                if not file.is_file() or file.stat().st_size != size
            ]
        if wrong:
            logger.warning("%s: %d data files are missing or truncated", self._path.name, len(wrong))
            raise DamagedState(
                f"The Delta table {self._path} has {counted(len(wrong), 'data file')} missing or truncated:"
                f" {wrong[0]}.",
                kept="Nothing was changed.",
                next_step=f"Restore them from a backup, or remove {self._path}: the next sync fetches all of it.",
            )

    def _create(self, diff: TableDiff, properties: CommitProperties) -> None:
        make_private_directory(self._path)
        write_deltalake(
            self._location,
            # All rows: the changes by key lack those that share one.
            diff.table_rows(delete_removed=False),
            mode="error",
            configuration=_CONFIGURATION,
            target_file_size=_FILE_SIZE,
            writer_properties=_writing(),
            commit_properties=properties,
        )

    def _merge(self, table: DeltaTable, diff: TableDiff, properties: CommitProperties, *, delete_removed: bool) -> None:
        merge = table.merge(
            diff.changed_rows(),
            " AND ".join(f"t.{name(path[0])} = s.{name(path[0])}" for path in diff.key),
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            writer_properties=_writing(),
            commit_properties=properties,
        )
        if delete_removed:
            merge = merge.when_matched_delete(f"s.{schema.REMOVED_AT} IS NOT NULL")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()

    def _replace(
        self, table: DeltaTable, diff: TableDiff, properties: CommitProperties, *, delete_removed: bool
    ) -> None:
        write_deltalake(
            table,
            diff.table_rows(delete_removed=delete_removed),
            mode="overwrite",
            schema_mode="overwrite",
            target_file_size=_FILE_SIZE,
            writer_properties=_writing(),
            commit_properties=properties,
        )

    def _read(self) -> None:
        if not (self._path / LOG).is_dir():
            return
        with self._failures("Reading"):
            self._table = DeltaTable(self._location)
            self.schema = pa.schema(self._table.schema().to_arrow())
            self.files = files_of(self._table, self._path)

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
        """Raise this package's errors for those of delta-rs, whose messages may quote values."""
        try:
            yield
        except CommitFailedError:
            raise LocalFailure(
                f"Someone else changed the Delta table {self._path} at the same time.",
                kept="Nothing of this poll is in it.",
                next_step="Run the same command again; it goes on from the pages that are kept.",
            ) from None
        except BulkExportError:
            raise
        except BaseException as error:  # a panic of delta-rs is no Exception
            if not isinstance(error, (OSError, DeltaError)) and type(error).__name__ != _PANIC:
                raise
            if (failure := disk_full(error, self._path)) is not None:
                raise failure from None
            if isinstance(error, OSError):
                raise LocalFailure(
                    f"{doing} the Delta table {self._path} failed: {error.strerror or type(error).__name__}.",
                    kept="The table is as it was before this poll.",
                    next_step="Make room or repair access, then run the same command again.",
                ) from None
            raise DamagedState(
                f"{doing} the Delta table {self._path} failed ({type(error).__name__}).",
                kept="The table is as it was before this poll.",
                next_step=f"Restore it from a backup, or remove {self._path}: the next sync fetches all of it.",
            ) from None


def _writing() -> WriterProperties:
    return WriterProperties(compression="ZSTD")
