"""Decides whether records that a full load did not show are gone. One response proves nothing, and many removals need
consent.

1. The records that a full load lacks are counted before anything is merged.
2. If a single response showed everything, or too much is missing, the endpoint is loaded once more; a record in either
   load exists (`endpoints_to_confirm`).
3. If too much is still missing, the removals are refused (`merge`), unless the user accepts them.
4. With a new token or address, too much missing means another provider's data: nothing is merged at all
   (`refuse_another_provider`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bulk_export.core.units import format_instant
from bulk_export.errors import RemovalRefused, UsageError
from bulk_export.output import duckdb_sql
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.fetch import FetchedPoll, GroupLoad
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import OpenPoll
from bulk_export.pipelines.sync.tables.diff import EXTRA
from bulk_export.pipelines.sync.tables.schema import ColumnPath
from bulk_export.pipelines.sync.tables.storage import open_table, row_key, scratch_directory
from bulk_export.pipelines.sync.tables.storage_errors import comparison_errors
from bulk_export.transform import schema

# This many records may always go, however few a table has.
ALWAYS_ACCEPTED = 50


@dataclass(frozen=True, slots=True)
class MissingRecords:
    """Of the `of` live records of a table, `rows` are missing from a load."""

    rows: int
    of: int

    def is_beyond(self, share: float, *, always: int = 0) -> bool:
        """Whether more are missing than `share` of all (0 to 1), and more than `always`."""
        return self.rows > max(always, share * self.of)

    def __str__(self) -> str:
        return f"{self.rows:,} of {self.of:,}"


def endpoints_to_confirm(options: SyncOptions, fetched: FetchedPoll) -> dict[str, MissingRecords]:
    """Return the endpoints that have to be loaded once more, and what the first load lacks of each.

    Raises:
        DamagedState: A table cannot be read.
        LocalFailure: The disk is full.
    """
    until = fetched.started_at if fetched.is_overtaken else None
    to_confirm = {}
    for name, load in fetched.by_endpoint():
        missing = _missing_from(options, fetched.poll, load, name, until)
        if missing.rows and (load.is_single_response(name) or missing.is_beyond(options.max_removed)):
            to_confirm[name] = missing
    return to_confirm


def refuse_another_provider(options: SyncOptions, fetched: FetchedPoll, changed: Iterable[str]) -> None:
    """Raise UsageError if too much of the copy is not shown any more, now that `changed` (token, address) is new."""
    for name, first in fetched.by_endpoint():
        missing = _missing_from(options, fetched.poll, fetched.second_loads.get(name, first), name, None)
        if missing.is_beyond(options.max_removed):
            raise UsageError(
                f"With another {' and '.join(sorted(changed))}, {missing} records of {name} in the copy are not shown"
                " any more: this looks like another provider's data.",
                kept="Nothing was changed.",
                next_step="Choose another --output; if it is the same provider, add --accept-removals.",
            )


def removals_refused(refused: Mapping[str, MissingRecords]) -> RemovalRefused:
    """The error for tables that would have lost too much."""
    tables = ", ".join(f"{missing} in {name}" for name, missing in refused.items())
    return RemovalRefused(
        f"The service does not show records that the copy has, asked twice: {tables}.",
        kept="None of them was removed or marked, everything else was merged, and the next poll is a full sync.",
        next_step="If they are gone, add --accept-removals once; otherwise wait until the service shows them.",
    )


def _missing_from(
    options: SyncOptions, poll: OpenPoll, load: GroupLoad, name: str, until: datetime | None
) -> MissingRecords:
    """Count the records that a load lacks; none if it cannot detect removals, or is merged already."""
    table = open_table(options, name)
    if not load.detects_removals(name) or table.counts_of(poll.number, poll.id) is not None:
        return MissingRecords(0, 0)
    files = load.files(name)
    with scratch_directory(options) as scratch:
        return _count_missing(files, table.files, row_key(options, name, table, files), until=until, scratch=scratch)


def _count_missing(
    fetched: Sequence[Path],
    current: Sequence[Path],
    key: Sequence[ColumnPath],
    *,
    until: datetime | None,
    scratch: Path,
) -> MissingRecords:
    """Count the live rows of a table written up to `until`, and those whose key the load shows less often."""
    if not current:
        return MissingRecords(0, 0)
    connection = duckdb_sql.connect(EXTRA, spill_to=scratch / "spilled")
    try:
        with comparison_errors(scratch, current):
            available = set(schema_of(fetched[0]).names)
            paths = [path for path in key if path[0] in available] or [(schema.ID,)]
            values = [".".join(map(duckdb_sql.name, path)) for path in paths]
            columns = ", ".join(f"{value} AS k{number}" for number, value in enumerate(values))
            written = "" if until is None else f" AND {schema.SYNCED_AT} <= TIMESTAMPTZ '{format_instant(until)}'"
            same = " AND ".join(f"c.k{number} IS NOT DISTINCT FROM f.k{number}" for number in range(len(values)))
            found = connection.execute(
                f"WITH c AS (SELECT {columns}, count(*) AS n FROM {duckdb_sql.read_parquet(current)}"  # noqa: S608
                f" WHERE {schema.REMOVED_AT} IS NULL{written} GROUP BY ALL),"
                f" f AS (SELECT {columns}, count(*) AS n FROM {duckdb_sql.read_parquet(fetched)} GROUP BY ALL)"
                f" SELECT coalesce(sum(greatest(0, c.n - coalesce(f.n, 0))), 0), coalesce(sum(c.n), 0)"
                f" FROM c LEFT JOIN f ON {same}"
            ).fetchone()
    finally:
        connection.close()
    return MissingRecords(0, 0) if found is None else MissingRecords(int(found[0]), int(found[1]))
