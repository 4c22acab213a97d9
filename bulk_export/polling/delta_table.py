"""A table as a Delta table: one transaction for each poll, with the versions before it.

The library merges rows, but where the type of a nested column grows it would empty that column in all rows it carries
over (deltalake 1.6); then the whole table is written anew, in one transaction all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from bulk_export import schema
from bulk_export.column_names import can_name_a_column
from bulk_export.database import missing_extra
from bulk_export.delta_files import LOG, check_path, files_of
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.files import make_private_directory, private_umask
from bulk_export.polling.copied_schema import is_only_added_to
from bulk_export.polling.difference import EXTRA, Counts, Difference

try:
    from deltalake import CommitProperties, DeltaTable, Schema, WriterProperties, write_deltalake
    from deltalake.exceptions import CommitFailedError, DeltaError
except ImportError:
    raise missing_extra(EXTRA) from None

_POLL = "bulk_export_poll"
# Commits of others, and of compaction, may stand above the one of a poll.
_LOOK_BACK = 20
_CONFIGURATION = {
    # The history ends where its owner ends it, by --vacuum.
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.dataSkippingNumIndexedCols": "0",  # least and greatest values would stand in the log in clear
}


class CopiedDelta:
    """The table in the directory `path`, which may not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = check_path(path)
        self._table: DeltaTable | None = None
        self.schema: pa.Schema | None = None
        self.files: tuple[Path, ...] = ()
        self._read()

    def applied(self, poll: int) -> Counts | None:
        """What the poll of that number did, if its transaction is among the last ones."""
        if self._table is None:
            return None
        with self._failures("Reading"):
            for commit in self._table.history(_LOOK_BACK):
                said = json.loads(commit.get(_POLL) or "{}")
                if said.get("poll") == poll:
                    return Counts(**said["counts"])
        return None

    @property
    def version(self) -> int | None:
        """The number of the table's version, None where there is none yet."""
        return None if self._table is None else self._table.version()

    def apply(self, difference: Difference, poll: int, *, delete_removed: bool) -> None:
        """Commit the changes; where there are none, nothing."""
        if self._table is not None and not difference.counts.changes:
            return
        said = json.dumps({"poll": poll, "counts": asdict(difference.counts)})
        properties = CommitProperties(custom_metadata={_POLL: said})
        with self._failures("Writing"), private_umask():
            if self._table is None:
                self._create(difference, properties)
            elif self.schema is not None and _can_merge(self.schema, difference.schema):
                self._merge(self._table, difference, properties, delete_removed=delete_removed)
            else:
                self._replace(self._table, difference, properties, delete_removed=delete_removed)
        self._read()

    def compact(self) -> None:
        """Put small files together."""
        with self._failures("Compacting"), private_umask():
            if self._table is not None:
                self._table.optimize.compact(writer_properties=_writing())
        self._read()

    def vacuum(self, older_than: timedelta) -> None:
        """Remove files that no version of the given time needs: the history before it ends."""
        with self._failures("Cleaning"), private_umask():
            if self._table is not None:
                hours = int(older_than / timedelta(hours=1))
                self._table.vacuum(retention_hours=hours, dry_run=False, enforce_retention_duration=False)
        self._read()

    def _create(self, difference: Difference, properties: CommitProperties) -> None:
        make_private_directory(self._path)
        write_deltalake(
            self._place,
            difference.changes(),
            mode="error",
            configuration=_CONFIGURATION,
            writer_properties=_writing(),
            commit_properties=properties,
        )

    def _merge(
        self, table: DeltaTable, difference: Difference, properties: CommitProperties, *, delete_removed: bool
    ) -> None:
        merging = table.merge(
            difference.changes(),
            f"t.{schema.ID} = s.{schema.ID}",
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
        self, table: DeltaTable, difference: Difference, properties: CommitProperties, *, delete_removed: bool
    ) -> None:
        write_deltalake(
            table,
            difference.merged(delete_removed=delete_removed),
            mode="overwrite",
            schema_mode="overwrite",
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
        except (OSError, DeltaError) as error:  # their texts may quote values
            if isinstance(error, OSError):
                raise LocalFailure(
                    f"{doing} the Delta table {self._path} failed: {error.strerror or type(error).__name__}.",
                    kept="The table is as it was before this poll.",
                    next_step="Make room or repair access, then run the same command again.",
                ) from None
            raise DamagedState(
                f"{doing} the Delta table {self._path} failed ({type(error).__name__}).",
                kept="The table is as it was before this poll.",
                next_step="Look at it with --debug; a new copy can be made in another --output.",
            ) from None


def _can_merge(copied: pa.Schema, wanted: pa.Schema) -> bool:
    # Earlier versions made columns of names that the library writes and reads, and cannot merge by.
    return is_only_added_to(copied, wanted) and all(map(can_name_a_column, wanted.names))


def _writing() -> WriterProperties:
    return WriterProperties(compression="ZSTD")


def _arrow_schema(described: Schema) -> pa.Schema:
    return pa.schema(described.to_arrow())
