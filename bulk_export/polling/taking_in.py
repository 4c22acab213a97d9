"""Takes what a poll fetched into the tables of a copy: made again after a crash, it changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bulk_export.files import WORKING_DIRECTORY, local_failures, make_private_directory, remove_tree
from bulk_export.polling.copied_table import CopiedTable
from bulk_export.polling.copy_state import OpenPoll
from bulk_export.polling.difference import Difference
from bulk_export.polling.poll_log import TableSummary
from bulk_export.polling.snapshot import Snapshot
from bulk_export.polling.sync_options import SyncOptions


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished export in `directory` that is a group of a poll, with its manifest and what it asked from."""

    directory: Path
    manifest: Mapping[str, Any]
    since: datetime | None

    def files(self, name: str) -> list[Path]:
        """The Parquet files of an endpoint."""
        return [self.directory / file["path"] for file in self.manifest["endpoints"][name]["files"]]


def table_of(options: SyncOptions, name: str) -> CopiedTable:
    """The table of an endpoint in the copy, which may not exist yet. Raises LocalFailure or UsageError."""
    path = options.output / name
    if options.format == "parquet":
        return Snapshot(path, options.output / WORKING_DIRECTORY)
    from bulk_export.polling.delta_table import CopiedDelta  # its library is an extra

    return CopiedDelta(path)


def started(poll: OpenPoll, groups: Sequence[Fetched], ahead_before: float) -> tuple[datetime, float]:
    """When a poll started by the service's clock, and by how many seconds that is ahead of ours.

    `ahead_before` is what is known from earlier polls, for one whose answers had no time in them.
    """
    told = [group.manifest["run"].get("server_clock_ahead") for group in groups]
    ahead = min((seconds for seconds in told if seconds is not None), default=ahead_before)
    return poll.started_at + timedelta(seconds=ahead), ahead


def take_in(
    options: SyncOptions, poll: OpenPoll, groups: Sequence[Fetched], started_at: datetime, *, is_overtaken: bool
) -> dict[str, TableSummary]:
    """Merge each endpoint of a poll into its table; what became of each.

    The poll `is_overtaken` if others were begun since it was.
    """
    return {
        name: _merge(options, name, group, poll.number, started_at, is_overtaken=is_overtaken)
        for group in groups
        for name in group.manifest["endpoints"]
    }


def tend(options: SyncOptions, names: Sequence[str]) -> None:
    """Compact tables and give up old versions, as far as that was asked for."""
    if not options.compact and options.vacuum is None:
        return
    from bulk_export.polling.delta_table import CopiedDelta

    for name in names:
        table = CopiedDelta(options.output / name)
        if options.compact:
            table.compact()
        if options.vacuum is not None:
            table.vacuum(options.vacuum)


def _merge(
    options: SyncOptions, name: str, group: Fetched, poll: int, started_at: datetime, *, is_overtaken: bool
) -> TableSummary:
    table = table_of(options, name)
    told = group.manifest["endpoints"][name]
    counts = table.applied(poll)
    if counts is None:
        scratch = options.output / WORKING_DIRECTORY / "merge"
        with local_failures(f"Making {scratch}"):
            remove_tree(scratch)
            make_private_directory(scratch)
        difference = Difference(
            group.files(name),
            table.files,
            table.schema,
            started_at=started_at,
            # A poll for changes shows some of the records, and sweeps that did not settle may have missed some.
            finds_removed=group.since is None and told["consistent"] is True,
            is_overtaken=is_overtaken,
            scratch=scratch,
        )
        try:
            table.apply(difference, poll, delete_removed=options.removed == "delete")
            counts = difference.counts
        finally:
            difference.close()
        remove_tree(scratch)
    return TableSummary(counts, told["requests"], group.since, told["consistent"], table.version)
