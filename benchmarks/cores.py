"""What a second core brings: the same replay and the same export on one core and on two, in turn.

    python -m benchmarks.cores                 300,000 records, five rounds
    python -m benchmarks.cores --records 60000 --rounds 3

A replay needs no server, so it has both cores of a machine of two. The export shares them with its server there, which
sends files: for that one, a machine with three cores says more. Where other programs are running, wall clock says
little; the processor time tells what the second core costs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.exporters import named
from benchmarks.processes import Usage, measure, rendered

_FORMS = ("parquet", "ndjson")


def rows(records: int, rounds: int, encoding: str) -> list[dict[str, object]]:
    """Seconds on one core and on two, in the median, and how many times as fast two were, within a round."""
    usable = sorted(os.sched_getaffinity(0))
    taken: dict[tuple[str, int], list[Usage]] = {}
    with tempfile.TemporaryDirectory(prefix="bulk-export-bench-") as folder, rendered(records, 300, encoding) as url:
        place = Path(folder)
        ways = {
            f"{what} to {form}": _command(what, form, url, records) for what in ("replay", "export") for form in _FORMS
        }
        kept = [*named("parquet").command(url, records, 300, place / "kept"), "--keep-pages"]
        measure(kept, output=place / "said", environment=named("parquet").environment)
        for _ in range(rounds):
            for what, command in ways.items():
                for count in (1, 2):
                    used = measure(
                        command(place),
                        output=place / "said",
                        environment=named("parquet").environment,
                        on=set(usable[-count:]),
                    )
                    taken.setdefault((what, count), []).append(used)
                    shutil.rmtree(place / "made")
    return [_row(what, taken[what, 1], taken[what, 2]) for what in ways]


def _command(what: str, form: str, url: str, records: int) -> Callable[[Path], list[str]]:
    def command(place: Path) -> list[str]:
        if what == "export":
            return named(form).command(url, records, 300, place / "made")
        given = [f"--format={form}", "--progress=none", f"--output={place / 'made' / 'out'}"]
        return [sys.executable, "-m", "bulk_export", "replay", str(place / "kept" / "out"), *given]

    return command


def _row(what: str, one: list[Usage], two: list[Usage]) -> dict[str, object]:
    return {
        "what": what,
        "one_core": round(statistics.median(used.seconds for used in one), 2),
        "two_cores": round(statistics.median(used.seconds for used in two), 2),
        "faster_by": round(statistics.median(a.seconds / b.seconds for a, b in zip(one, two, strict=True)), 2),
        "cpu_more": round(statistics.median(b.cpu_seconds / a.cpu_seconds for a, b in zip(one, two, strict=True)), 2),
        "peak_mb": (round(max(used.peak_mb for used in one)), round(max(used.peak_mb for used in two))),
    }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--encoding", choices=("plain", "gzip"), default="plain")
    given = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("there is one core")
    print(f"{'':18} {'one core':>9} {'two cores':>9} {'faster by':>9} {'CPU time':>9}  peak MB")
    for row in rows(given.records, given.rounds, given.encoding):
        one, two = row["one_core"], row["two_cores"]
        print(f"{row['what']:18} {one:>8} s {two:>8} s {row['faster_by']:>9} {row['cpu_more']:>9}  {row['peak_mb']}")


if __name__ == "__main__":
    main()
