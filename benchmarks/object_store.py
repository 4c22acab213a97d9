"""Measures an export to the stand-in for S3 beside the same export to disk.

    python -m benchmarks.object_store                      300,000 records, three rounds
    python -m benchmarks.object_store --records 3000000    where there are some minutes

`make test-integrations` makes the environment of the stand-in, which runs in a process of its own, on the core of the
server of pages where there are two. Both exports take turns, each as a process of its own. The figures are the
medians; ratios are those of one round each. Exports are verified afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from benchmarks import report
from benchmarks.pages import ENDPOINT
from benchmarks.processes import TOKEN, RunFailed, Usage, cores, measure, placed, rendered
from bulk_export import verify
from tests.support.s3_server import HAS_MOTO, SKIP_REASON, s3_server

BUCKET = "lake-of-benchmarks"
PAGE_SIZE = 3_000
DISK, STORE = "disk", "s3"
COLUMNS = (
    ("title", "export to"),
    ("records_per_second", "records/s"),
    ("cpu_seconds", "CPU s"),
    ("cpu_of_disk", "CPU of disk"),
    ("peak_mb", "peak MB"),
)
Row = dict[str, object]


def once(base_url: str, output: str, records: int, directory: Path) -> Usage:
    """Export all records, and see that they are there. Raises RunFailed."""
    free = ["--service-limit=100000000/1s", "--ip-limit=100000000/1s", "--min-interval=0", "--budget=memory://"]
    given = [f"--base-url={base_url}", f"--page-size={PAGE_SIZE}", f"--output={output}", "--progress=none"]
    command = [sys.executable, "-m", "bulk_export", "export", ENDPOINT, *given, *free]
    usage = measure(
        command,
        output=directory / "said",
        environment={"BULK_EXPORT_TOKEN": TOKEN, "XDG_STATE_HOME": str(directory / "state")},
    )
    found = verify(output, quick=True).rows
    if found != records:
        raise RunFailed(f"{output} has {found} records instead of {records}")
    return usage


def compare(records: int, rounds: int) -> list[Row]:
    """Export to disk and to the stand-in in turn, and say what that took in the median.

    Args:
        records: How many records are exported.
        rounds: How often each export runs.

    Returns:
        A row for each of them.

    Raises:
        RunFailed: One of them failed, or left other records.
    """
    directory = Path(tempfile.mkdtemp(prefix="bulk-export-bench-"))
    used: dict[str, list[Usage]] = {DISK: [], STORE: []}
    try:
        with rendered(records, PAGE_SIZE, "gzip") as base_url, placed(cores()[0]), s3_server() as server:
            server.make_bucket(BUCKET)
            with mock.patch.dict(os.environ, server.environment()):
                for number in range(rounds):
                    local = directory / str(number)
                    used[DISK].append(once(base_url, str(local), records, directory))
                    shutil.rmtree(local)
                    used[STORE].append(once(base_url, f"s3://{BUCKET}/{number}", records, directory))
    finally:
        shutil.rmtree(directory)
    return [_row(name, used, records) for name in used]


def _row(name: str, used: dict[str, list[Usage]], records: int) -> Row:
    own = used[name]
    ratios = [usage.cpu_seconds / other.cpu_seconds for usage, other in zip(own, used[DISK], strict=True)]
    return {
        "name": name,
        "title": {DISK: "a directory", STORE: "the stand-in for S3"}[name],
        "records_per_second": round(records / statistics.median(usage.seconds for usage in own)),
        "cpu_seconds": round(statistics.median(usage.cpu_seconds for usage in own), 2),
        "cpu_of_disk": round(statistics.median(ratios), 2),
        "peak_mb": round(statistics.median(usage.peak_mb for usage in own)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for, and print a table and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300_000, help="(300000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each export runs (3)")
    chosen = parser.parse_args(arguments)
    if not HAS_MOTO:
        parser.error(SKIP_REASON)
    rows = compare(chosen.records, chosen.rounds)
    shown = [[report.shown(row[key]) for key, _ in COLUMNS] for row in rows]
    print(report.aligned([[heading for _, heading in COLUMNS], *shown]))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
