"""What polls cost a Delta table of a copy as its history grows: time, memory and bytes, without any request.

    python -m benchmarks.copy_growth --rows 100000 --polls 3000

Each poll changes a few rows anywhere in the table and adds some, as an hourly poll does, in the steps of a real one:
the table is opened and compared with what was noted of it, the diff is found and merged, files are tended.
Processor time is measured, so that other work on the machine does not show.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.process import configure_allocator
from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable
from bulk_export.pipelines.sync.tables.diff import DiffRequest, TableDiff

BEGAN = datetime(2025, 6, 2, tzinfo=UTC)
COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("full_name", pa.string()),
        ("trn", pa.string()),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("_extra", pa.string()),
    ]
)


def rows(numbers: list[int], version: int, rng: random.Random) -> pa.Table:
    """Records about as large as a participant's."""
    records = [
        {
            "id": f"{random.Random(number).getrandbits(128):032x}",
            "type": "npq-participant",
            "full_name": f"{rng.getrandbits(100):x} {version}",
            "trn": str(number),
            "updated_at": BEGAN + timedelta(hours=version),
            "_extra": None,
        }
        for number in numbers
    ]
    return pa.Table.from_pylist(records, schema=COLUMNS)


def poll(table_at: Path, room: Path, number: int, fetched: pa.Table, mark: TableMark) -> TableMark:
    """One poll's work on one table; what is noted of it afterwards."""
    pq.write_table(fetched, room / "fetched.parquet")
    table = DeltaCopyTable(table_at)
    table.status(mark, ())
    table.counts_of(number, f"{number:032x}")
    diff = TableDiff(
        DiffRequest(
            [room / "fetched.parquet"],
            table.files,
            table.schema,
            started_at=BEGAN + timedelta(hours=number),
            detects_removals=False,
            is_overtaken=False,
            scratch=room,
        )
    )
    try:
        table.apply(diff, number, delete_removed=False, poll_id=f"{number:032x}")
    finally:
        diff.close()
    noted = table.mark
    if (table := DeltaCopyTable(table_at)).is_scattered:
        table.compact()
    return noted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--polls", type=int, default=300)
    parser.add_argument("--changes", type=int, default=5)
    parser.add_argument("--inserts", type=int, default=2)
    chosen = parser.parse_args()
    configure_allocator()
    rng = random.Random(7)
    with tempfile.TemporaryDirectory() as directory:
        table_at, room = Path(directory) / "table", Path(directory) / "room"
        room.mkdir()
        mark = poll(table_at, room, 0, rows(list(range(chosen.rows)), 0, rng), TableMark())
        first = sum(file.stat().st_size for file in table_at.glob("*.parquet"))
        seconds, count = [], chosen.rows
        for number in range(1, chosen.polls + 1):
            wanted = rng.sample(range(count), chosen.changes) + list(range(count, count + chosen.inserts))
            count += chosen.inserts
            began = time.process_time()
            mark = poll(table_at, room, number, rows(wanted, number, rng), mark)
            seconds.append(time.process_time() - began)
        files = sum(file.stat().st_size for file in table_at.glob("*.parquet"))
        log = sum(file.stat().st_size for file in (table_at / "_delta_log").iterdir())
        tenth = max(1, chosen.polls // 10)
        told = {
            "rows": count,
            "polls": chosen.polls,
            "first_bytes": first,
            "bytes_a_poll": round((files - first) / chosen.polls),
            "log_bytes_a_poll": round(log / chosen.polls),
            "files_now": len(DeltaCopyTable(table_at).files),
            "cpu_seconds_a_poll_first_tenth": round(statistics.median(seconds[:tenth]), 3),
            "cpu_seconds_a_poll_last_tenth": round(statistics.median(seconds[-tenth:]), 3),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
