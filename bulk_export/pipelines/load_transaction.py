"""The transaction of a load: decide, stage, publish, record. All over one connection, from one thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa

from bulk_export.core.version import __version__
from bulk_export.destinations.changes import Action, Change, Origin, decide
from bulk_export.destinations.destination import Destination, FillsNewTables
from bulk_export.destinations.loads_table import insertion, loads_table
from bulk_export.destinations.source import COPY, Batches, Source, SourceTable
from bulk_export.destinations.staged_rows import StagedRows
from bulk_export.destinations.statements import (
    Removal,
    Staged,
    append_rows,
    count_after_upsert,
    count_shared_keys,
    create_table,
    merge_rows,
)
from bulk_export.destinations.table_plan import plan_tables
from bulk_export.destinations.tables import (
    LoadSettings,
    RecordedLoad,
    RowCounts,
    Statement,
    Table,
)
from bulk_export.errors import UsageError

_STAGING = "_bulk_export_staged_{number}"


@dataclass(frozen=True, slots=True)
class TableLoad:
    """What a load did to one table.

    Attributes:
        table: The table.
        endpoint: The endpoint whose records it holds.
        action: `skip` if the table holds these rows already, or `create`, `replace`, `upsert` or `append`.
        rows: Rows that were read for it.
        inserted, updated, deleted: Rows that changed.
    """

    table: str
    endpoint: str
    action: str
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class LoadedTables:
    """What an attempt did: its id, empty if there was nothing to do, its tables, and remarks for the user."""

    load_id: str
    tables: tuple[TableLoad, ...]
    remarks: tuple[str, ...] = ()


class LoadProgress:
    """Is notified of what a load does. All methods may do nothing."""

    def staged(self, table: str, rows: int) -> None:
        """So many more rows of a table were read and sent."""

    def publishing(self) -> None:
        """All rows are staged, and the transaction begins to change tables."""

    def retrying(self, reason: str) -> None:
        """The connection was lost, and the load starts again."""


@dataclass(slots=True)
class _Work:
    """A table that changes, with its staging tables."""

    change: Change
    staged: Staged
    removal: Removal
    rows: int


class LoadTransaction:
    """One attempt of a load, over one connection.

    Args:
        source: What is loaded.
        tables: Which of its tables.
        settings: How.
        destination: The connection.
        progress: Is notified of what happens.
    """

    def __init__(
        self,
        source: Source,
        tables: Sequence[SourceTable],
        settings: LoadSettings,
        destination: Destination,
        progress: LoadProgress,
    ) -> None:
        self._source = source
        self._tables = tables
        self._settings = settings
        self._destination = destination
        self._dialect = destination.dialect
        self._progress = progress
        self._started = datetime.now(UTC)
        self._load_id = f"{self._started:%Y%m%dT%H%M%S%fZ}-{source.id[:12]}"
        self._staging_tables: list[str] = []
        self._remarks: list[str] = []

    def run(self) -> LoadedTables:
        """Stage what is to be loaded, and publish it. Raises what the destination and the source raise."""
        destination = self._destination
        destination.begin()
        recorded = destination.recorded_loads()
        planned = plan_tables({table.endpoint: table.schema for table in self._tables}, self._settings, self._dialect)
        skipped: list[TableLoad] = []
        work: list[_Work] = []
        # All refusals come before the first row is read.
        changes = {
            source.endpoint: [self._decide(table, source, recorded) for table in planned[source.endpoint]]
            for source in self._tables
        }
        for source in self._tables:
            endpoint_changes = changes[source.endpoint]
            if all(change.action is Action.SKIP for change in endpoint_changes):
                skipped += [TableLoad(change.table.name, source.endpoint, Action.SKIP) for change in endpoint_changes]
                continue
            work += self._stage_endpoint(source, endpoint_changes)
        if not work:
            return LoadedTables("", tuple(skipped))
        counts = self._publish(work)
        loaded = [
            TableLoad(
                item.change.table.name,
                item.change.table.endpoint,
                item.change.action,
                item.rows,
                counted.inserted,
                counted.updated,
                counted.deleted,
            )
            for item, counted in zip(work, counts, strict=True)
        ]
        return LoadedTables(self._load_id, (*loaded, *skipped), tuple(self._remarks))

    def _decide(self, table: Table, source: SourceTable, recorded: Sequence[RecordedLoad]) -> Change:
        origin = Origin(self._source.kind, self._source.id, source.version, self._source.service)
        of_table = [load for load in recorded if load.table == table.name]
        existing = self._destination.existing_table(table.name)
        return decide(table, existing, of_table, origin, self._settings, self._dialect)

    def _stage_endpoint(self, source: SourceTable, changes: Sequence[Change]) -> list[_Work]:
        """Stage the rows of an endpoint's tables.

        Each table reads the source, so that memory stays flat. Of a copy, only what may have changed since the last
        load is read, unless rows have left its table since.
        """
        own, *children = changes
        changed = self._changed(source, changes)
        if changed is not None:
            work = self._stage(source, own, changed, Removal.NOTHING)
            if work.change.table.key and self._explains_all(work, source):
                return [
                    work,
                    *(self._stage(source, child, changed, Removal.ORPHANS, parent=work) for child in children),
                ]
        keeps_others = own.action is Action.UPSERT and self._source.kind != COPY
        work = self._stage(source, own, source.batches, Removal.NOTHING if keeps_others else Removal.OTHERS)
        if keeps_others and not work.change.table.key:
            raise UsageError(
                f"Records of {source.endpoint} share their id, so they cannot be told apart by it.",
                kept="Nothing was changed at the destination.",
                next_step="Load them with --mode replace.",
            )
        removal = Removal.ORPHANS if keeps_others else Removal.OTHERS
        return [work, *(self._stage(source, child, source.batches, removal, parent=work) for child in children)]

    def _changed(self, source: SourceTable, changes: Sequence[Change]) -> Batches | None:
        """What reads the rows of a copy's table that may have changed since the last load; None for all."""
        if any(change.action is not Action.UPSERT or not change.table.key for change in changes):
            return None
        lasts = {change.last and (change.last.source, change.last.source_id) for change in changes}
        versions = {change.last.source_version for change in changes if change.last is not None}
        alike = all(change.last and change.last.settings == self._settings.recorded() for change in changes)
        if not alike or lasts != {(COPY, self._source.id)} or len(versions) != 1:
            return None
        return source.changed_since(*versions)

    def _explains_all(self, work: _Work, source: SourceTable) -> bool:
        """Whether the table will hold as many rows as the copy, so that none has left it and no two share a key."""
        query = count_after_upsert(work.change.table, work.staged.rows, self._dialect)
        return self._destination.count(query) == source.rows

    def _stage(
        self, source: SourceTable, change: Change, read: Batches, removal: Removal, parent: _Work | None = None
    ) -> _Work:
        table = change.table
        rows = StagedRows(table, self._dialect, self._load_id, self._settings.replace_nul)
        batches = self._watched(rows.batches(read()), table.name)
        if change.action is Action.CREATE and isinstance(self._destination, FillsNewTables):
            staging, holds = "", self._dialect.table(table.name)
            count = self._destination.fill(table, batches)
        else:
            staging = self._next_staging()
            holds = self._dialect.staging_table(staging)
            count = self._destination.stage(staging, table.columns, batches)
        if parent is not None:
            key = parent.change.table.key
            if not key:
                change = replace(change, table=replace(table, key=()))
            return _Work(change, Staged(staging, parent.staged.rows, key[0] if key else ""), removal, count)
        if table.key and self._destination.count(count_shared_keys(holds, table.key, self._dialect)):
            change = self._without_key(change)
        return _Work(change, Staged(staging), removal, count)

    def _without_key(self, change: Change) -> Change:
        """The change of a table whose staged rows share ids."""
        table = change.table
        if change.action is not Action.CREATE:
            raise UsageError(
                f"Records of {table.endpoint} share their id, and {table.name} has it as its primary key.",
                kept="Nothing was changed at the destination.",
                next_step=f"Choose another --table-prefix, or run: DROP TABLE {self._dialect.table(table.name)}",
            )
        self._remarks.append(f"{table.name}: records share their id, so the table has no primary key")
        return replace(change, table=replace(table, key=()))

    def _next_staging(self) -> str:
        self._staging_tables.append(self._dialect.fold(_STAGING.format(number=len(self._staging_tables) + 1)))
        return self._staging_tables[-1]

    def _watched(self, batches: Iterator[pa.RecordBatch], table: str) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self._progress.staged(table, batch.num_rows)

    def _publish(self, work: Sequence[_Work]) -> list[RowCounts]:
        self._progress.publishing()
        dialect = self._dialect
        statements = [Statement(create_table(loads_table(dialect), dialect))]
        for item in work:
            statements += self._statements(item)
        if not dialect.staging_is_temporary:
            statements += [Statement(dialect.drop_staging(name)) for name in self._staging_tables]
        counts: list[RowCounts] = []

        def conclude(changed: Sequence[int]) -> Sequence[Statement]:
            counts.clear()
            for item in work:
                counted = RowCounts.of(item.change.table.name, statements, changed)
                counts.append(counted if item.staged.rows else RowCounts(inserted=item.rows))
            finished = datetime.now(UTC)
            return [
                insertion(self._record(item, counted, finished), dialect)
                for item, counted in zip(work, counts, strict=True)
            ]

        self._destination.publish(statements, conclude)
        return counts

    def _statements(self, item: _Work) -> list[Statement]:
        change, dialect = item.change, self._dialect
        table = change.table
        statements = list(change.alterations)
        if change.action is Action.CREATE:
            if item.staged.rows:
                statements.append(Statement(create_table(table, dialect)))
            elif table.key:
                statements.append(Statement(dialect.add_key(table.name, table.key)))
            statements += dialect.comments(table, f"{table.endpoint} of {self._source.service}")
        if not item.staged.rows:
            return statements
        if change.action in (Action.CREATE, Action.APPEND):
            statements += append_rows(table, item.staged, dialect)
        else:
            statements += merge_rows(table, item.staged, item.removal, dialect)
        return statements

    def _record(self, item: _Work, counted: RowCounts, finished: datetime) -> RecordedLoad:
        table = item.change.table
        source = next(source for source in self._tables if source.endpoint == table.endpoint)
        return RecordedLoad(
            load_id=self._load_id,
            table=table.name,
            endpoint=table.endpoint,
            mode=self._settings.mode,
            source=self._source.kind,
            source_id=self._source.id,
            source_version=source.version,
            service=self._source.service,
            settings=self._settings.recorded(),
            columns=tuple(column.name for column in table.columns),
            rows=item.rows,
            inserted=counted.inserted,
            updated=counted.updated,
            deleted=counted.deleted,
            started_at=self._started,
            finished_at=finished,
            tool_version=__version__,
        )
