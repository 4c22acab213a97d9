"""Whether what a full load did not show is gone: one answer proves nothing, and many removals are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bulk_export.core.units import format_instant
from bulk_export.errors import DamagedState
from bulk_export.output import duckdb_sql as database
from bulk_export.output.formats.reading import schema_of
from bulk_export.pipelines.sync.diff import EXTRA
from bulk_export.pipelines.sync.disk_room import out_of_room
from bulk_export.transform import schema

# So many records may always go, however few there are.
ALWAYS = 50


@dataclass(frozen=True, slots=True)
class Missing:
    """How many of the records that a table holds as being there were not in a load."""

    rows: int
    of: int

    def is_beyond(self, share: float, *, always: int = 0) -> bool:
        """Whether more are missing than a share of all, and more than `always`."""
        return self.rows > max(always, share * self.of)

    def __str__(self) -> str:
        return f"{self.rows:,} of {self.of:,}"


def count_missing(
    fetched: Sequence[Path],
    current: Sequence[Path],
    key: Sequence[tuple[str, ...]],
    *,
    until: datetime | None,
    scratch: Path,
) -> Missing:
    """Count the rows of a table, and those whose key a load did not show, or showed less often.

    Rows that were written after `until` do not count. Raises DamagedState or LocalFailure.
    """
    if not current:
        return Missing(0, 0)
    connection = database.connect(EXTRA, spill_to=scratch / "spilled")
    try:
        there = set(schema_of(fetched[0]).names)
        paths = [path for path in key if path[0] in there] or [(schema.ID,)]
        parts = [".".join(map(database.name, path)) for path in paths]
        chosen = ", ".join(f"{part} AS k{number}" for number, part in enumerate(parts))
        written = "" if until is None else f" AND {schema.SYNCED_AT} <= TIMESTAMPTZ '{format_instant(until)}'"
        same = " AND ".join(f"c.k{number} IS NOT DISTINCT FROM f.k{number}" for number in range(len(parts)))
        found = connection.execute(
            f"WITH c AS (SELECT {chosen}, count(*) AS n FROM {database.read_parquet(current)}"  # noqa: S608
            f" WHERE {schema.REMOVED_AT} IS NULL{written} GROUP BY ALL),"
            f" f AS (SELECT {chosen}, count(*) AS n FROM {database.read_parquet(fetched)} GROUP BY ALL)"
            f" SELECT coalesce(sum(greatest(0, c.n - coalesce(f.n, 0))), 0), coalesce(sum(c.n), 0)"
            f" FROM c LEFT JOIN f ON {same}"
        ).fetchone()
    except (database.failures(), ValueError, OSError) as error:  # their texts may quote values
        if (failure := out_of_room(error, scratch)) is not None:
            raise failure from None
        raise DamagedState(
            f"The tables of the copy cannot be compared ({type(error).__name__}).", kept="Nothing was changed."
        ) from None
    finally:
        connection.close()
    return Missing(0, 0) if found is None else Missing(int(found[0]), int(found[1]))
