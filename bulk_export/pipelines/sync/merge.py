"""Merges the loads of a poll into the tables of a copy. Merging again, after a crash, changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.pipelines.sync.confirm_removals import ALWAYS_ACCEPTED, MissingRecords
from bulk_export.pipelines.sync.fetch import FetchedPoll, GroupLoad
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.summary import Counts, TableSummary
from bulk_export.pipelines.sync.tables.copy_table import CopyTable, TableMark
from bulk_export.pipelines.sync.tables.diff import DiffRequest, TableDiff
from bulk_export.pipelines.sync.tables.storage import open_table, row_key, scratch_directory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The result of merging into a table.

    Attributes:
        summary: Its part of the poll's summary.
        mark: The table after the merge.
        refused: The removals that were refused; None if none were.
        is_end_uncertain: Nothing was removed, because the list may go on after the last page that was shown.
    """

    summary: TableSummary
    mark: TableMark
    refused: MissingRecords | None = None
    is_end_uncertain: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether no sweeps disagreed, no removal was refused, and the end of the list is certain."""
        return self.summary.consistent is not False and self.refused is None and not self.is_end_uncertain


@dataclass(frozen=True, slots=True)
class _EndpointLoads:
    """The loads of one endpoint in a poll: the first one, and a second one if the first lacked records."""

    name: str
    first: GroupLoad
    second: GroupLoad | None

    @property
    def latest(self) -> GroupLoad:
        return self.second or self.first

    @property
    def all(self) -> tuple[GroupLoad, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def manifests(self) -> list[Mapping[str, Any]]:
        return [load.manifest["endpoints"][self.name] for load in self.all]

    @property
    def requests(self) -> int:
        return sum(manifest["requests"] for manifest in self.manifests)

    @property
    def detects_removals(self) -> bool:
        """Whether records that no load showed are gone: changes show some records, and sweeps may have disagreed."""
        return all(load.detects_removals(self.name) for load in self.all)

    @property
    def may_continue(self) -> bool:
        return all(load.may_continue(self.name) for load in self.all)

    @property
    def is_empty_poll(self) -> bool:
        """Whether nothing changed, as in most polls, so that there is nothing to compare."""
        return self.second is None and not self.detects_removals and self.manifests[0]["records"] == 0

    @property
    def consistent(self) -> bool | None:
        first = self.manifests[0].get("consistent")
        if first is None:
            return None
        return self.detects_removals or (self.first.since is not None and first)


def merge_poll(options: SyncOptions, fetched: FetchedPoll) -> dict[str, MergeResult]:
    """Merge each endpoint of a poll into its table, in one transaction each.

    Raises:
        DamagedState: A table or a load cannot be read.
        LocalFailure: A table cannot be written; those before it are merged, and recognised by the next run.
    """
    return {
        name: _merge_endpoint(options, fetched, _EndpointLoads(name, load, fetched.second_loads.get(name)))
        for name, load in fetched.by_endpoint()
    }


def _merge_endpoint(options: SyncOptions, fetched: FetchedPoll, loads: _EndpointLoads) -> MergeResult:
    table = open_table(options, loads.name)
    refused, is_end_uncertain = None, False
    # 1. A run that was killed after the transaction merged it already.
    counts = table.counts_of(fetched.poll.number, fetched.poll.id)
    # 2. Nothing was fetched, and a table is there.
    if counts is None and loads.is_empty_poll and table.files:
        counts = Counts()
    # 3. The load is compared with the table, and the changes are written.
    if counts is None:
        counts, refused, is_end_uncertain = _merge_changes(options, fetched, loads, table)
    summary = TableSummary(counts, loads.requests, loads.first.since, loads.consistent, table.version)
    return MergeResult(summary, table.mark, refused, is_end_uncertain)


def _merge_changes(
    options: SyncOptions, fetched: FetchedPoll, loads: _EndpointLoads, table: CopyTable
) -> tuple[Counts, MissingRecords | None, bool]:
    """Write the changes. Return their counts, the removals that were refused, and whether the end was uncertain."""
    files = loads.latest.files(loads.name)
    with scratch_directory(options) as scratch:
        diff = TableDiff(
            DiffRequest(
                files,
                table.files,
                table.schema,
                started_at=fetched.started_at,
                detects_removals=loads.detects_removals,
                is_overtaken=fetched.is_overtaken,
                scratch=scratch,
                key=row_key(options, loads.name, table, files),
                earlier=() if loads.second is None else loads.first.files(loads.name),
                deletes_marked=options.removed == "delete",
            )
        )
        try:
            refused, is_end_uncertain = _judge_removals(options, loads, diff)
            deletes = options.removed == "delete"
            table.apply(diff, fetched.poll.number, delete_removed=deletes, poll_id=fetched.poll.id)
            return diff.counts, refused, is_end_uncertain
        finally:
            diff.close()


def _judge_removals(options: SyncOptions, loads: _EndpointLoads, diff: TableDiff) -> tuple[MissingRecords | None, bool]:
    """Discard the removals of a diff if they are too many, or if the list may go on. --accept-removals overrides."""
    if options.accepts_removals:
        return None, False
    removals = MissingRecords(diff.counts.removed, diff.live_rows)
    if removals.is_beyond(options.max_removed, always=ALWAYS_ACCEPTED):
        logger.warning("%s: refused the removal of %d of %d records", loads.name, removals.rows, removals.of)
        diff.discard_removals()
        return removals, False
    if not loads.may_continue:
        return None, False
    is_end_uncertain = diff.counts.removed + diff.counts.deleted > 0
    diff.discard_removals()
    return None, is_end_uncertain
