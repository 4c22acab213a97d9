"""Records and rows of a small table, and what a comparison of them finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.pipelines.sync.tables.copy_table import CopyTable
from bulk_export.pipelines.sync.tables.diff import DiffRequest, TableDiff

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
INSTANT = pa.timestamp("us", "UTC")
PEOPLE = pa.list_(pa.struct([("email", pa.string()), ("born", pa.date32())]))
FETCHED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("type", pa.string()),
        ("updated_at", INSTANT),
        ("people", PEOPLE),
        ("share", pa.float64()),
        ("_extra", pa.string()),
    ]
)
NULLABLE = FETCHED.set(0, pa.field("id", pa.string()))
COPIED = pa.schema([*NULLABLE, ("_synced_at", INSTANT), ("_removed_at", INSTANT)])


def record(identity: str | None, **changes: Any) -> dict[str, Any]:
    """A record as it was fetched."""
    people = [{"email": f"{identity}@example.org", "born": None}]
    return {"id": identity, "type": "t", "updated_at": NOON, "people": people, "share": 0.1, "_extra": None} | changes


def row(
    identity: str | None, *, synced_at: datetime = NOON - HOUR, removed_at: datetime | None = None, **changes: Any
) -> dict[str, Any]:
    """A record as a row of the table, written an hour before noon."""
    return record(identity, **changes) | {"_synced_at": synced_at, "_removed_at": removed_at}


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> Path:
    """Write a Parquet file."""
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def request(fetched: Sequence[Path], current: Sequence[Path], copied: pa.Schema | None, **chosen: Any) -> DiffRequest:
    """A comparison of a poll for changes at noon, but for what is chosen."""
    usual = {"started_at": NOON, "detects_removals": False, "is_overtaken": False}
    return DiffRequest(fetched, current, copied, **usual | chosen)


@contextmanager
def table_diff(
    table: CopyTable, scratch: Path, records: list[dict[str, Any]], schema: pa.Schema = FETCHED, **chosen: Any
) -> Iterator[TableDiff]:
    """The difference between some records and a table."""
    fetched = [write(scratch / "fetched.parquet", records, schema)]
    diff = TableDiff(request(fetched, table.files, table.schema, scratch=scratch, **chosen))
    try:
        yield diff
    finally:
        diff.close()


class Compared:
    """What the comparison of records with rows found; the names of its files have awkward characters."""

    def __init__(
        self,
        scratch: Path,
        fetched: list[Any],
        copied: list[Any] | None,
        *,
        full: bool = False,
        overtaken: bool = False,
        fetched_schema: pa.Schema = FETCHED,
        earlier: list[Any] | None = None,
        **chosen: Any,
    ) -> None:
        diff = TableDiff(
            request(
                [write(scratch / "fetched's.parquet", fetched, fetched_schema)],
                [] if copied is None else [write(scratch / "current [1].parquet", copied, COPIED)],
                None if copied is None else COPIED,
                detects_removals=full,
                is_overtaken=overtaken,
                scratch=scratch,
                earlier=[] if earlier is None else [write(scratch / "earlier.parquet", earlier, fetched_schema)],
                **chosen,
            )
        )
        self.counts = diff.counts
        self.is_by_key = diff.is_by_key
        self.all = diff.table_rows(delete_removed=False).read_all().to_pylist()
        self.left = diff.table_rows(delete_removed=True).read_all().to_pylist()
        self.schema = diff.schema
        self.changes = {one["id"]: one for one in diff.changed_rows().read_all().to_pylist()}
        self.merged = {one["id"]: one for one in self.all}
        self.without_removed = [one["id"] for one in self.left]
        diff.close()
        assert not (scratch / "changes.parquet").exists()
