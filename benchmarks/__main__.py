"""Measures exports without limits, as ratios within one run, and their memory.

    make bench                                          all of it, some minutes
    python -m benchmarks --records 30000 --no-memory    a first impression

Each kind runs several times in turn with the others, in a process of its own, against a server in another
process; the medians are compared. The table is printed, and written as JSON under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

KINDS = ("ceiling", "parquet", "ndjson", "ndjson-zstd", "stream")
MEMORY_SIZES = (30_000, 300_000, 3_000_000)
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One measured process: `seconds` and `cpu_seconds`, and its peak memory in MB."""

    kind: str
    records: int
    seconds: float
    cpu_seconds: float
    peak_mb: float


@contextmanager
def prerendered(records: int, page_size: int, encoding: str) -> Iterator[str]:
    """The server of `benchmarks.server`; its address."""
    command = [sys.executable, "-m", "benchmarks.server", str(records), str(page_size), encoding]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@contextmanager
def bundled(records: int, *more: str) -> Iterator[str]:
    """The bundled service, which renders its pages as they are asked for; its address."""
    command = [sys.executable, "-m", "bulk_export", "local-service", "--port", "0", "--gzip", *more]
    environment = os.environ | {"BULK_EXPORT_TOKEN": "benchmark"}
    with subprocess.Popen(
        [*command, "--records", str(records)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" on ")[1].split(",")[0]
        process.terminate()


def measure(kind: str, base_url: str, records: int, page_size: int) -> Run:
    """One run in a process of its own, accounted for by the system."""
    directory = tempfile.mkdtemp(prefix="bulk-export-bench-")
    target = f"{directory}/out"
    command = [sys.executable, "-m", "benchmarks.client", kind, base_url, str(records), str(page_size), target]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{kind} failed")
        result = json.loads(said)
        if result["records"] != records:
            raise SystemExit(f"{kind} brought {result['records']} records instead of {records}")
        peak = usage.ru_maxrss / 1024 if sys.platform != "darwin" else usage.ru_maxrss / 1024**2
        return Run(kind, records, result["seconds"], usage.ru_utime + usage.ru_stime, peak)
    finally:
        shutil.rmtree(directory)


def throughput(records: int, page_size: int, rounds: int) -> list[dict[str, object]]:
    """All kinds in turn, plain and gzip, against the ceiling of the same run."""
    rows: list[dict[str, object]] = []
    for encoding in ("plain", "gzip"):
        with prerendered(records, page_size, encoding) as base_url:
            runs = [measure(kind, base_url, records, page_size) for _ in range(rounds) for kind in KINDS]
        medians = {kind: statistics.median(run.seconds for run in runs if run.kind == kind) for kind in KINDS}
        for kind in KINDS:
            own = [run for run in runs if run.kind == kind]
            cpu = statistics.median(run.cpu_seconds for run in own)
            rows.append(
                {
                    "kind": kind,
                    "encoding": encoding,
                    "records_per_second": round(records / medians[kind]),
                    "of_ceiling": round(medians["ceiling"] / medians[kind], 3),
                    "cpu_seconds_per_million": round(cpu / records * 1e6, 2),
                    "peak_mb": round(max(run.peak_mb for run in own)),
                }
            )
    return rows


def memory(sizes: tuple[int, ...]) -> list[dict[str, object]]:
    """Peak memory of an export to Parquet and of one to NDJSON, by number of records."""
    rows: list[dict[str, object]] = []
    for records in sizes:
        with bundled(records, "--no-limits") as base_url:
            for kind in ("parquet", "ndjson"):
                run = measure(kind, base_url, records, 3_000)
                rows.append({"kind": kind, "records": records, "peak_mb": round(run.peak_mb), "run": asdict(run)})
    return rows


def table(rows: list[dict[str, object]], columns: tuple[str, ...]) -> str:
    """Rows as text, flush right."""
    cells = [columns, *(tuple(shown(row[name]) for name in columns) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def shown(value: object) -> str:
    """A cell: whole numbers with separators."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000, help="for the throughput runs")
    parser.add_argument("--page-size", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-memory", action="store_true", help="leave out the runs of up to 3,000,000 records")
    chosen = parser.parse_args()
    began = time.time()
    result: dict[str, object] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "records": chosen.records,
        "page_size": chosen.page_size,
        "throughput": (rates := throughput(chosen.records, chosen.page_size, chosen.rounds)),
    }
    print(table(rates, ("kind", "encoding", "records_per_second", "of_ceiling", "cpu_seconds_per_million", "peak_mb")))
    if not chosen.no_memory:
        result["memory"] = peaks = memory(MEMORY_SIZES)
        print(table(peaks, ("kind", "records", "peak_mb")))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(began))}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
