"""Whole processes in turn against one server, and what they left counted."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.exporters import Exporter
from benchmarks.processes import ROOT, RunFailed, Usage, measure, rendered

Row = dict[str, object]
STANDARD_OUTPUT = "stdout"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run."""

    exporter: Exporter
    records: int
    usage: Usage

    def rate(self) -> float:
        """Records a second, over the whole process."""
        return self.records / self.usage.seconds

    def cpu_rate(self) -> float:
        """Records a second of processor time."""
        return self.records / self.usage.cpu_seconds


def once(exporter: Exporter, base_url: str, records: int, page_size: int) -> Run:
    """Run an exporter, and see that it brought every record once. Raises RunFailed."""
    directory = Path(tempfile.mkdtemp(prefix="bulk-export-bench-"))
    try:
        command = exporter.command(base_url, records, page_size, directory)
        usage = measure(command, output=directory / STANDARD_OUTPUT, environment=exporter.environment)
        if exporter.form != "nothing":
            counted = subprocess.run(
                [sys.executable, "-m", "benchmarks.counting", exporter.form, str(directory)],
                check=True,
                stdout=subprocess.PIPE,
                cwd=ROOT,
            )
            found = json.loads(counted.stdout)
            if found != [records, records]:
                raise RunFailed(f"{exporter.name} brought {found[0]} records with {found[1]} ids instead of {records}")
        return Run(exporter, records, usage)
    finally:
        shutil.rmtree(directory)


def compare(
    exporters: Sequence[Exporter], *, records: int, page_size: int, rounds: int, encoding: str, say: bool = True
) -> list[Row]:
    """Every exporter once a round, all rounds against one server; medians.

    Ratios are taken within a round, to the exporter that is named as the reference and to the ceiling, and are
    medians of these.
    """
    runs: list[dict[str, Run]] = []
    with rendered(records, page_size, encoding) as base_url:
        for number in range(rounds):
            runs.append({one.name: once(one, base_url, records, page_size) for one in exporters})
            if say:
                print(f"{encoding}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return [_row(one, runs, encoding) for one in exporters]


def _row(exporter: Exporter, rounds: Sequence[dict[str, Run]], encoding: str) -> Row:
    own = [runs[exporter.name] for runs in rounds]
    rates = [run.rate() for run in own]
    return {
        "exporter": exporter.name,
        "title": exporter.title,
        "group": exporter.group,
        "encoding": encoding,
        "records": own[0].records,
        "records_per_second": round(statistics.median(rates)),
        "slowest": round(min(rates)),
        "fastest": round(max(rates)),
        "of_reference": ratio(exporter.name, exporter.reference, rounds),
        "cpu_of_reference": ratio(exporter.name, exporter.reference, rounds, Run.cpu_rate),
        "of_ceiling": ratio(exporter.name, "ceiling", rounds),
        "ours_to_it": ratio("ndjson" if exporter.reference == "reference-ndjson" else "parquet", exporter.name, rounds),
        "cpu_seconds_per_million": round(
            statistics.median(run.usage.cpu_seconds / run.records * 1_000_000 for run in own), 2
        ),
        "peak_mb": round(max(run.usage.peak_mb for run in own)),
    }


def ratio(
    one: str, other: str, rounds: Sequence[dict[str, Run]], rate: Callable[[Run], float] = Run.rate
) -> float | None:
    """How many times as fast as the other it was, in the median of the rounds; None where one was not run."""
    pairs = [(runs[one], runs[other]) for runs in rounds if one in runs and other in runs]
    return round(statistics.median(rate(a) / rate(b) for a, b in pairs), 3) if pairs else None


def journal_cost(form: str, *, journalled: Exporter, unjournalled: Exporter, records: int, rounds: int) -> list[Row]:
    """What keeping pages durable adds to an export, as a share of its time and of its processor time."""
    rows: list[Row] = []
    for encoding in ("plain", "gzip"):
        with rendered(records, 300, encoding) as base_url:
            runs = [
                {one.name: once(one, base_url, records, 300) for one in (journalled, unjournalled)}
                for _ in range(rounds)
            ]
        slower = ratio(unjournalled.name, journalled.name, runs)
        dearer = ratio(unjournalled.name, journalled.name, runs, Run.cpu_rate)
        assert slower is not None
        assert dearer is not None
        rows.append(
            {
                "form": form,
                "encoding": encoding,
                "seconds": round(statistics.median(run[journalled.name].usage.seconds for run in runs), 2),
                "without": round(statistics.median(run[unjournalled.name].usage.seconds for run in runs), 2),
                "cost": f"{slower - 1:.1%}",
                "cpu_cost": f"{dearer - 1:.1%}",
            }
        )
    return rows


def memory(exporters: Sequence[Exporter], sizes: Sequence[int]) -> list[Row]:
    """Peak memory by number of records, from pages of 3,000 that come as gzip."""
    rows: list[Row] = []
    for records in sizes:
        with rendered(records, 3_000, "gzip") as base_url:
            for exporter in exporters:
                run = once(exporter, base_url, records, 3_000)
                rows.append(
                    {
                        "exporter": exporter.name,
                        "title": exporter.title,
                        "records": records,
                        "peak_mb": round(run.usage.peak_mb),
                        "seconds": round(run.usage.seconds, 1),
                    }
                )
                print(f"memory: {exporter.name}, {records:,} records", file=sys.stderr, flush=True)
    return rows
