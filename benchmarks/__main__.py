"""Measures exports without limits against a ceiling, a reference and peers, and their memory and start.

    make bench                                      all of it, some ten minutes; peers where `make bench-peers` was run
    python -m benchmarks --quick                    a first impression, less than a minute
    python -m benchmarks --only parquet --only dlt  some sections or exporters, and what they are compared with
    python -m benchmarks --write-docs               also renews the tables and plots in docs/

Each exporter is a process of its own, in turn with the others, against a server in another process with pages rendered
ahead. Tables are printed, and all figures written as JSON under benchmarks/results/.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report, startup
from benchmarks.exporters import EXPORTERS, UNJOURNALLED, Exporter, named
from benchmarks.processes import ROOT, cores, measure
from benchmarks.throughput import Row, compare, journal_cost, memory

SECTIONS = tuple(report.COLUMNS)
MEMORY_SIZES = (30_000, 300_000, 3_000_000)
RESULTS = Path(__file__).parent / "results"
# What docs/performance.md shows, so that a run of some sections leaves the others as they are.
FIGURES = Path(__file__).parent / "figures.json"
# Has matplotlib; made by `make bench`.
PLOTTING = ROOT / ".venv-plots" / "bin" / "python"
_LIBRARIES = ("aiohttp", "pyarrow", "msgspec", "orjson", "uvloop", "isal")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--records", type=int, default=300_000, help="for each run (300000)")
    made.add_argument("--page-size", type=int, default=300)
    made.add_argument("--rounds", type=int, default=5, help="how often each exporter runs (5)")
    made.add_argument("--peer-records", type=int, help="fewer records where peers are slow (as --records)")
    made.add_argument("--peer-rounds", type=int, default=3)
    made.add_argument(
        "--only", action="append", default=[], metavar="NAME", help=f"{', '.join(SECTIONS)}, or part of an exporter"
    )
    made.add_argument("--quick", action="store_true", help="few records and rounds: an impression, not a figure")
    made.add_argument("--write-docs", action="store_true", help="renew docs/performance.md and its plots")
    made.add_argument("--results", type=Path, metavar="FILE", help="use the figures of an earlier run")
    return made


def chosen_exporters(only: Sequence[str], groups: Sequence[str]) -> list[Exporter]:
    """Those of some groups that are there and asked for, and what they are compared with."""
    names = [name for name in only if name not in SECTIONS]
    asked = [one for one in EXPORTERS if one.group in groups and any(name in one.name for name in names)]
    if not names:
        asked = [one for one in EXPORTERS if one.group in groups]
    if not asked:
        return []
    needed = {one.reference for one in asked} | {"ceiling"} | {one.name for one in asked}
    return [one for one in EXPORTERS if one.name in needed and one.available]


def run(chosen: argparse.Namespace) -> dict[str, list[Row]]:
    """The sections that are asked for."""
    wanted = [name for name in SECTIONS if name in chosen.only] or list(SECTIONS)
    if any(name not in SECTIONS for name in chosen.only):
        wanted = [name for name in wanted if name in ("throughput", "peers")]
    sections: dict[str, list[Row]] = {}

    def add(section: str, rows: list[Row]) -> None:
        sections[section] = rows
        print(f"\n{section}\n{report.aligned(report.cells(section, rows))}", flush=True)

    given = {"records": chosen.records, "page_size": chosen.page_size, "rounds": chosen.rounds}
    own = chosen_exporters(chosen.only, ("bounds", "ours"))
    if "throughput" in wanted and own:
        add("throughput", [row for encoding in ("plain", "gzip") for row in compare(own, encoding=encoding, **given)])
    peers = chosen_exporters(chosen.only, ("peers",))
    if "peers" in wanted and any(one.group == "peers" for one in peers):
        compared = [named("parquet"), named("ndjson"), *(one for one in peers if one.group == "peers")]
        given |= {"records": chosen.peer_records, "rounds": chosen.peer_rounds}
        add("peers", compare(compared, encoding="plain", **given))
    elif "peers" in wanted:
        print("\nno peers: make bench-peers sets them up", flush=True)
    if "conversion" in wanted:
        add("conversion", conversion())
    if "memory" in wanted:
        measured = [named(name) for name in ("parquet", "ndjson", "stream")]
        add("memory", memory(measured, chosen.memory_sizes, chosen.page_size))
    if "startup" in wanted:
        add("startup", startup.rows(2 * chosen.rounds + 1))
    if "journal" in wanted:
        add(
            "journal",
            [
                row
                for form, other in zip(("parquet", "ndjson"), UNJOURNALLED, strict=True)
                for row in journal_cost(
                    form,
                    journalled=named(form),
                    unjournalled=other,
                    records=chosen.records,
                    rounds=chosen.rounds,
                )
            ],
        )
    return sections


def conversion() -> list[Row]:
    """`benchmarks.conversion`, on the core for what is measured."""
    said = RESULTS / "conversion.json"
    measure([sys.executable, "-m", "benchmarks.conversion"], output=said)
    rows: list[Row] = json.loads(said.read_text())
    return rows


def machine(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the figures were measured on, and with."""
    page = subprocess.run(
        [sys.executable, "-c", "from benchmarks.pages import *; print(len(body(factory(300), 0, 300)))"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return {
        "processor": _processor(),
        "cores": len(cores()[0] | cores()[1]) or os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": platform.system(),
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES if _has(name)),
        "page_size": chosen.page_size,
        "page_kb": round(int(page.stdout) / 300 * chosen.page_size / 1000),
    }


def extent(chosen: argparse.Namespace) -> dict[str, str]:
    """How much was measured, and how often, by section."""
    own = f"{chosen.records:,} records, median of {chosen.rounds} rounds."
    peers = f"{chosen.peer_records:,} records, median of {chosen.peer_rounds} rounds."
    extents = {"throughput": own, "journal": own, "peers": peers}
    return {section: text for section, text in extents.items() if not chosen.only or section in chosen.only}


def _has(library: str) -> bool:
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for."""
    chosen = parser().parse_args(arguments)
    if chosen.quick:
        chosen.records, chosen.rounds, chosen.peer_rounds = min(chosen.records, 30_000), 1, 1
    chosen.memory_sizes = [size for size in MEMORY_SIZES if not chosen.quick or size <= chosen.records]
    chosen.peer_records = chosen.peer_records or chosen.records
    RESULTS.mkdir(exist_ok=True)
    path = chosen.results or RESULTS / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.json"
    if chosen.results:
        results = json.loads(path.read_text())
    else:
        results = {"machine": machine(chosen), "settings": extent(chosen), "sections": run(chosen)}
        path.write_text(json.dumps(results, indent=2) + "\n")
        print(f"\nwritten to {path}")
    if chosen.write_docs:
        results = report.merged(results, json.loads(FIGURES.read_text()) if FIGURES.exists() else {})
        FIGURES.write_text(json.dumps(results, indent=2) + "\n")
        report.write_document(results)
        drawing = [str(PLOTTING), "-m", "benchmarks.plots", str(FIGURES), str(report.DOCUMENT.parent)]
        subprocess.run(drawing, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
