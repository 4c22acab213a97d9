"""A table as a Delta table: one transaction for each poll, with the versions before it.

The library merges rows, but where the type of a nested column grows it would empty that column in all rows it carries
over (deltalake 1.6). Then the whole table is written anew, in one transaction all the same; so it is where rows share
their key, or the library cannot read a name.

A file is rewritten as a whole when a row in it changes. Files are therefore small: a few changes in a large table touch
a few of them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from bulk_export.core.files import make_private_directory, private_umask
from bulk_export.errors import BulkExportError, DamagedState, LocalFailure
from bulk_export.output.delta_files import LOG, check_path, data_files, files_of, unused_files
from bulk_export.output.duckdb_sql import missing_extra, name
from bulk_export.pipelines.sync.copied_table import Standing
from bulk_export.pipelines.sync.diff import EXTRA, Counts, TableDiff
from bulk_export.pipelines.sync.disk_room import out_of_room
from bulk_export.pipelines.sync.schema import is_only_added_to
from bulk_export.pipelines.sync.state import TableMark
from bulk_export.transform import schema

try:
    from deltalake import CommitProperties, DeltaTable, Schema, WriterProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError
except ImportError:
    raise missing_extra(EXTRA) from None

_POLL = "bulk_export_poll"
# What the library raises where its own code fails; it is no Exception.
_PANIC = "PanicException"
# Commits of others, and of compaction, may stand above the one of a poll.
_LOOK_BACK = 20
# Bytes of a data file, about 5,000 records; and so many files, many of them smaller, are put together.
_FILE_SIZE = 256 * 1024
_MOST_SMALL_FILES = 64
_SIZE = "delta.targetFileSize"
# What changes no row.
_HARMLESS = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "FSCK")
_CONFIGURATION = {
    # The history ends where its owner ends it, by --vacuum.
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.dataSkippingNumIndexedCols": "0",  # least and greatest values would stand in the log in clear
    _SIZE: str(_FILE_SIZE),
}


class DeltaCopyTable:
    """The table in the directory `path`, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = check_path(path)
        self._table: DeltaTable | None = None
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._read()

    def applied(self, poll: int, poll_id: str = "") -> Counts | None:
        """What a poll did, if its transaction is among the last ones. One without an id goes by its number."""
        for commit in self._history(_LOOK_BACK):
            said = _said(commit)
            if said.get("id") == poll_id if poll_id else said.get("poll") == poll:
                return Counts(**said["counts"])
        return None

    @property
    def version(self) -> int | None:
        """The number of the table's version, None where there is none yet."""
        return None if self._table is None else self._table.version()

    @property
    def mark(self) -> TableMark:
        """Its version, and the last poll that wrote it."""
        said = next((said for commit in self._history(_LOOK_BACK) if (said := _said(commit))), {})
        return TableMark(self.version, said.get("id") or None, said.get("poll"))

    def standing(self, mark: TableMark, under_way: Container[str]) -> Standing:
        """How the table compares with what was noted of it: its version, and who made it and those after it."""
        if self._table is None:
            return Standing.ABSENT
        self._check_files(self._table)
        version = self._table.version()
        if mark.version is None or version < mark.version:
            return Standing.KNOWN if mark.version is None else Standing.BEHIND
        found = Standing.KNOWN
        for commit in self._history(version - mark.version + _LOOK_BACK):
            said, number = _said(commit), commit.get("version")
            if not isinstance(number, int):
                return Standing.BEHIND
            if number <= mark.version:
                if said:
                    same = mark.poll is None or said.get("id") == mark.poll
                    return found if same else Standing.BEHIND
            elif said:
                if said.get("id") not in under_way:
                    found = Standing.AHEAD
            elif commit.get("operation") not in _HARMLESS:
                return Standing.BEHIND
        return found

    def apply(self, difference: TableDiff, poll: int, *, delete_removed: bool, poll_id: str = "") -> None:
        """Commit the changes; where there are none, nothing."""
        if self._table is not None and not difference.counts.changes:
            return
        said = json.dumps({"poll": poll, "id": poll_id, "counts": asdict(difference.counts)})
        properties = CommitProperties(custom_metadata={_POLL: said})
        with self._failures("Writing"), private_umask():
            if self._table is None:
                self._create(difference, properties)
            elif (has_small_files := _SIZE in self._table.metadata().configuration) and self._can_merge(difference):
                self._merge(self._table, difference, properties, delete_removed=delete_removed)
            else:
                # An earlier version wrote one large file, which any change would rewrite.
                self._replace(self._table, difference, properties, delete_removed=delete_removed)
                if not has_small_files:
                    self._table.alter.set_table_properties({_SIZE: _CONFIGURATION[_SIZE]})
        self._read()

    def compact(self) -> None:
        """Put small files together."""
        with self._failures("Compacting"), private_umask():
            if self._table is not None:
                self._table.optimize.compact(target_size=_FILE_SIZE, writer_properties=_writing())
        self._read()

    @property
    def is_scattered(self) -> bool:
        """Whether there are so many small files that reading them all takes noticeable time."""
        with self._failures("Reading"):
            return sum(1 for file in self.files if file.stat().st_size < _FILE_SIZE // 4) > _MOST_SMALL_FILES

    def vacuum(self, older_than: timedelta) -> None:
        """Remove files that no version of the given time needs: the history before it ends."""
        with self._failures("Cleaning"), private_umask():
            if self._table is not None:
                hours = int(older_than / timedelta(hours=1))
                self._table.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False)
        self._read()

    def remove_unused(self) -> int:
        """Remove data files that are in no version, as a killed merge leaves them; how many there were.

        Nobody else may be writing to the table.
        """
        with self._failures("Cleaning"):
            unused = unused_files(self._path, set(self.files))
            for file in unused:
                file.unlink(missing_ok=True)
        return len(unused)

    def _can_merge(self, difference: TableDiff) -> bool:
        return (
            self.schema is not None
            and is_only_added_to(self.schema, difference.schema)
            and difference.is_by_key
            and all(len(path) == 1 for path in difference.key)
            # The library takes the names of columns for expressions.
            and not any("`" in column for column in difference.schema.names)
        )

    def _history(self, limit: int) -> list[dict[str, Any]]:
        if self._table is None:
            return []
        with self._failures("Reading"):
            return self._table.history(limit)

    def _check_files(self, table: DeltaTable) -> None:
        """Raise DamagedState where a file that the table consists of is missing or has another size."""
        with self._failures("Reading"):
            wrong = [
                file.name
                for file, size in data_files(table, self._path)
                if not file.is_file() or file.stat().st_size != size
            ]
        if wrong:
            raise DamagedState(
                f"The Delta table {self._path} lacks {len(wrong)} of its data files, or they are cut: {wrong[0]}.",
                kept="Nothing was changed.",
                next_step=f"Restore them from a backup, or remove {self._path}: the next sync fetches it whole.",
            )

    def _create(self, difference: TableDiff, properties: CommitProperties) -> None:
        make_private_directory(self._path)
        write_deltalake(
            self._place,
            # The changes by key lack the rows that share one.
            difference.merged(delete_removed=False),
            mode="error",
            configuration=_CONFIGURATION,
            target_file_size=_FILE_SIZE,
            writer_properties=_writing(),
            commit_properties=properties,
        )

    def _merge(
        self, table: DeltaTable, difference: TableDiff, properties: CommitProperties, *, delete_removed: bool
    ) -> None:
        merging = table.merge(
            difference.changes(),
            " AND ".join(f"t.{name(path[0])} = s.{name(path[0])}" for path in difference.key),
            source_alias="s",
            target_alias="t",
            merge_schema=True,
            writer_properties=_writing(),
            commit_properties=properties,
        )
        if delete_removed:
            merging = merging.when_matched_delete(f"s.{schema.REMOVED_AT} IS NOT NULL")
        merging.when_matched_update_all().when_not_matched_insert_all().execute()

    def _replace(
        self, table: DeltaTable, difference: TableDiff, properties: CommitProperties, *, delete_removed: bool
    ) -> None:
        write_deltalake(
            table,
            difference.merged(delete_removed=delete_removed),
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
            self._table = DeltaTable(self._place)
            self.schema = _arrow_schema(self._table.schema())
            self.files = files_of(self._table, self._path)

    @contextmanager
    def _failures(self, doing: str) -> Iterator[None]:
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
        except BaseException as error:  # their texts may quote values
            if not isinstance(error, (OSError, DeltaError)) and type(error).__name__ != _PANIC:
                raise
            if (failure := out_of_room(error, self._path)) is not None:
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
                next_step=f"Restore it from a backup, or remove {self._path}: the next sync fetches it whole.",
            ) from None


def _writing() -> WriterProperties:
    return WriterProperties(compression="ZSTD")


def _arrow_schema(described: Schema) -> pa.Schema:
    return pa.schema(described.to_arrow())


def _said(commit: dict[str, Any]) -> dict[str, Any]:
    """What a poll noted in its commit, empty for a commit of anything else."""
    try:
        said = json.loads(commit.get(_POLL) or "{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) and "counts" in said else {}
