"""Takes what a poll fetched into the tables of a copy: made again after a crash, it changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bulk_export.core.clock import ENOUGH, TOLERANCE, agreed, believed
from bulk_export.core.files import local_failures, make_private_directory
from bulk_export.core.model import Endpoint
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.output.formats.reading import schema_of
from bulk_export.output.working_state import remove_tree
from bulk_export.pipelines.sync.copied_table import CopyTable
from bulk_export.pipelines.sync.diff import Counts, TableDiff
from bulk_export.pipelines.sync.log import TableSummary
from bulk_export.pipelines.sync.merge_key import merge_key
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.parquet_table import ParquetCopyTable
from bulk_export.pipelines.sync.removals import ALWAYS, Missing, count_missing
from bulk_export.pipelines.sync.state import CopyState, OpenPoll, TableMark

MERGE = "merge"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A finished export in `directory` that is a group of a poll, with its manifest and what it asked from."""

    directory: Path
    manifest: Mapping[str, Any]
    since: datetime | None

    def files(self, name: str) -> list[Path]:
        """The Parquet files of an endpoint."""
        return [self.directory / file["path"] for file in self.manifest["endpoints"][name]["files"]]

    def finds_removed(self, name: str) -> bool:
        """Whether what is not in it is gone: everything of an endpoint was fetched, and sweeps agreed."""
        return self.since is None and self.manifest["endpoints"][name]["consistent"] is True

    def may_go_on(self, name: str) -> bool:
        """Whether the list may go on behind the last page that was shown."""
        return "suspicious_end" in self.manifest["endpoints"][name]["signs_of_change"]

    def is_one_answer(self, name: str) -> bool:
        """Whether all that it says of an endpoint was told once only."""
        return not self.manifest["endpoints"][name].get("swept_again")

    @property
    def clock(self) -> tuple[float | None, int]:
        """By how many seconds the service's clock was ahead of ours, and by how many answers."""
        run = self.manifest["run"]
        return run.get("server_clock_ahead"), run.get("server_clock_answers") or 1


def table_of(options: SyncOptions, name: str) -> CopyTable:
    """The table of an endpoint in the copy, which may not exist yet. Raises LocalFailure or UsageError."""
    path = options.output / name
    if options.format == "parquet":
        return ParquetCopyTable(path, options.output / WORKING_DIRECTORY / MERGE)
    from bulk_export.pipelines.sync.delta_table import DeltaCopyTable  # its library is an extra

    return DeltaCopyTable(path)


def started(poll: OpenPoll, groups: Sequence[Fetched], state: CopyState) -> tuple[datetime, float]:
    """When a poll started by the service's clock, and by how many seconds that is taken to be ahead of ours.

    `state` knows what earlier polls were told: for one whose answers had no time in them that is believed, and because
    polls of one answer each agree as well as the answers of one poll.
    """
    before = state.clock_ahead
    found = []
    for ahead, answers in (group.clock for group in groups):
        alike = 0 if ahead is None else sum(1 for told in state.clock_told if abs(told - ahead) <= TOLERANCE)
        found.append(believed(ahead, answers + alike, before))
    ahead = min(found, default=before)
    return poll.started_at + timedelta(seconds=ahead), ahead


def clock_told(groups: Sequence[Fetched], state: CopyState) -> tuple[float, ...]:
    """What the last polls were told, each once, this one among them."""
    told, _ = agreed([ahead for ahead, _ in (group.clock for group in groups) if ahead is not None])
    return state.clock_told if told is None else (*state.clock_told, told)[-ENOUGH:]


def clock_remark(groups: Sequence[Fetched], ahead: float) -> str | None:
    """What to say of clocks that are far apart, `ahead` being what is believed."""
    told = [seconds for group in groups if (seconds := group.clock[0]) is not None]
    far = max(told, key=abs, default=0.0)
    if abs(far) <= TOLERANCE:
        return None
    by = f"{abs(far):,.0f} s {'ahead of' if far > 0 else 'behind'} ours"
    if abs(far - ahead) <= TOLERANCE:
        return f"The service's clock is {by}; the copy goes by the service's."
    return f"The service's clock is {by}, which is not believed: check the clock of this machine."


def missing_from(
    options: SyncOptions, poll: OpenPoll, group: Fetched, name: str, started_at: datetime, *, is_overtaken: bool
) -> Missing:
    """What of a table a full load that proves something did not show; nothing missing in any other load."""
    table = table_of(options, name)
    if not group.finds_removed(name) or table.applied(poll.number, poll.id) is not None:
        return Missing(0, 0)
    with scratch_of(options) as scratch:
        key = merge_key(endpoint_of(options, name), table.schema or schema_of(group.files(name)[0]))
        until = started_at if is_overtaken else None
        return count_missing(group.files(name), table.files, key, until=until, scratch=scratch)


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a table, its mark, and how many removals were refused.

    It `is_doubted` where nothing was taken out because the list may go on behind what was shown.
    """

    summary: TableSummary
    mark: TableMark
    refused: Missing | None = None
    is_doubted: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether everything was done that the load asks for."""
        return self.summary.consistent is not False and self.refused is None and not self.is_doubted


def take_in(
    options: SyncOptions,
    poll: OpenPoll,
    groups: Sequence[Fetched],
    again: Mapping[str, Fetched],
    started_at: datetime,
    *,
    is_overtaken: bool,
) -> dict[str, Taken]:
    """Merge each endpoint of a poll into its table; what became of each.

    `again` has second loads of endpoints that lacked records. The poll `is_overtaken` if others were begun since.
    """
    return {
        name: _merge(options, name, group, again.get(name), poll, started_at, is_overtaken=is_overtaken)
        for group in groups
        for name in group.manifest["endpoints"]
    }


def tend(options: SyncOptions, names: Sequence[str]) -> None:
    """Compact tables and give up old versions, as far as that was asked for or needed."""
    if options.format != "delta":
        return
    from bulk_export.pipelines.sync.delta_table import DeltaCopyTable

    for name in names:
        table = DeltaCopyTable(options.output / name)
        compacts = options.compact or table.is_scattered
        if not compacts and options.vacuum is None:
            continue
        with scratch_of(options):
            if compacts:
                table.compact()
            if options.vacuum is not None:
                table.vacuum(options.vacuum)


def remove_unused(options: SyncOptions, names: Iterable[str]) -> None:
    """Remove data files that a killed merge left in no version."""
    if options.format != "delta":
        return
    from bulk_export.pipelines.sync.delta_table import DeltaCopyTable

    for name in names:
        DeltaCopyTable(options.output / name).remove_unused()


@contextmanager
def scratch_of(options: SyncOptions) -> Iterator[Path]:
    """A directory for what is made while tables are worked on; one that is left says that something was killed."""
    scratch = options.output / WORKING_DIRECTORY / MERGE
    with local_failures(f"Making {scratch}"):
        remove_tree(scratch)
        make_private_directory(scratch)
    yield scratch
    with local_failures(f"Removing {scratch}"):
        remove_tree(scratch)


def endpoint_of(options: SyncOptions, name: str) -> Endpoint:
    """The description of an endpoint."""
    return next(endpoint for endpoint in options.full.endpoints if endpoint.name == name)


def _merge(
    options: SyncOptions,
    name: str,
    group: Fetched,
    again: Fetched | None,
    poll: OpenPoll,
    started_at: datetime,
    *,
    is_overtaken: bool,
) -> Taken:
    table = table_of(options, name)
    told = group.manifest["endpoints"][name]
    counts, refused, is_doubted = table.applied(poll.number, poll.id), None, False
    may_go_on = all(load.may_go_on(name) for load in (group, again) if load is not None)
    last, earlier = (group, ()) if again is None else (again, group.files(name))
    proves = group.finds_removed(name) and (again is None or again.finds_removed(name))
    requests = told["requests"] + (0 if again is None else again.manifest["endpoints"][name]["requests"])
    if counts is None and again is None and not proves and table.files and told["records"] == 0:
        counts = Counts()  # nothing changed, which is what most polls find
    if counts is None:
        with scratch_of(options) as scratch:
            difference = TableDiff(
                last.files(name),
                table.files,
                table.schema,
                started_at=started_at,
                # A poll for changes shows some of the records, and sweeps that did not settle may have missed some.
                finds_removed=proves,
                is_overtaken=is_overtaken,
                scratch=scratch,
                key=merge_key(endpoint_of(options, name), table.schema or schema_of(last.files(name)[0])),
                earlier=earlier,
                deletes_marked=options.removed == "delete",
            )
            try:
                removals = Missing(difference.counts.removed, difference.rows_there)
                if removals.is_beyond(options.max_removed, always=ALWAYS) and not options.accepts_removals:
                    refused = removals
                    difference.keep_missing()
                elif may_go_on and not options.accepts_removals:
                    is_doubted = difference.counts.removed + difference.counts.deleted > 0
                    difference.keep_missing()
                table.apply(difference, poll.number, delete_removed=options.removed == "delete", poll_id=poll.id)
                counts = difference.counts
            finally:
                difference.close()
    consistent = None if told.get("consistent") is None else proves or (group.since is not None and told["consistent"])
    summary = TableSummary(counts, requests, group.since, consistent, table.version)
    return Taken(summary, table.mark, refused, is_doubted)
