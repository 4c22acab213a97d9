"""Measures loads into PostgreSQL and DuckDB beside what people write or install for it.

    .venv-integrations/bin/python -m benchmarks.load                      100,000 records, three rounds
    .venv-integrations/bin/python -m benchmarks.load --records 1000000    where there is half an hour
    .venv-integrations/bin/python -m benchmarks.load --only ours          some of the loaders, by part of their names

`make test-integrations` makes that environment, and `make bench-peers` the one of the peers. All loaders take turns,
each as a process of its own that loads the same export into an empty schema of one server, which runs on another core
where there is one and does not wait for its disk. Tables are counted afterwards. The figures are the medians; ratios
are those of one round each. Peers get files without NUL, on which they would fail.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.processes import ROOT, TOKEN, RunFailed, Usage, cores, measure, placed, rendered
from tests.support.postgres_server import PostgresServer, binaries, postgres_server

ENDPOINT, TABLE = "npq-applications", "npq_applications"
REFERENCE = "to_sql"
_PEERS = ROOT / ".venv-loading" / "bin" / "python"
COLUMNS = (
    ("title", "whole process"),
    ("records_per_second", "records/s"),
    ("of_reference", f"of {REFERENCE}"),
    ("cpu_seconds", "CPU s of the loader"),
    ("peak_mb", "peak MB"),
)
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Loader:
    """One way to load an export.

    Attributes:
        name: What it is called in options.
        title: What it is called in tables.
        command: Its command, of the address of the server, a schema, and the directory of the export.
        file: Whether it loads into a DuckDB file beside the export, called like the schema.
    """

    name: str
    title: str
    command: Callable[[str, str, Path], list[str]]
    file: bool = False


def _ours(url: str, schema: str, export: Path) -> list[str]:
    del url
    to = ["--to=env:WAREHOUSE", f"--schema={schema}", "--nul=replace"]
    return [sys.executable, "-m", "bulk_export", "load", str(export), *to, "--progress=none"]


def _file(schema: str, export: Path) -> Path:
    return export.with_name(f"{schema}.duckdb")


def _duckdb(url: str, schema: str, export: Path) -> list[str]:
    del url
    to = f"--to=duckdb://{_file(schema, export)}"
    return [sys.executable, "-m", "bulk_export", "load", str(export), to, "--progress=none"]


def _peer(mode: str) -> Callable[[str, str, Path], list[str]]:
    script = Path(__file__).parent / "peers" / "loading" / "run.py"
    return lambda url, schema, export: [str(_PEERS), str(script), mode, url, schema, str(_cleaned(export))]


LOADERS = (
    Loader("ours-postgresql", "`load` into PostgreSQL", _ours),
    Loader("ours-duckdb", "`load` into DuckDB", _duckdb, file=True),
    Loader(REFERENCE, "pandas.to_sql into PostgreSQL", _peer("to_sql")),
    Loader("copy", "psycopg COPY into PostgreSQL, row by row", _peer("copy")),
    Loader("dlt", "dlt into PostgreSQL", _peer("dlt")),
)


def _cleaned(export: Path) -> Path:
    return export.with_name("cleaned")


def exported(records: int, directory: Path) -> Path:
    """Make a finished export of so many records."""
    target = directory / "export"
    with rendered(records, 300, "plain") as base_url:
        free = ["--service-limit=100000000/1s", "--ip-limit=100000000/1s", "--min-interval=0", "--budget=memory://"]
        given = [f"--base-url={base_url}", "--page-size=300", f"--output={target}", "--progress=none"]
        command = [sys.executable, "-m", "bulk_export", "export", ENDPOINT, *given, *free]
        measure(command, output=directory / "said", environment={"BULK_EXPORT_TOKEN": TOKEN})
    return target


def once(loader: Loader, server: PostgresServer, schema: str, export: Path, records: int) -> Usage:
    """Run a loader, and see that it brought every record. Raises RunFailed."""
    url = server.url_with_password
    usage = measure(
        loader.command(url, schema, export), output=export.with_name("said"), environment={"WAREHOUSE": url}
    )
    path = _file(schema, export)
    found = int(_ask("file", str(path), TABLE) if loader.file else _ask("server", url, schema, TABLE))
    path.unlink(missing_ok=True)
    if found != records:
        raise RunFailed(f"{loader.name} brought {found} records instead of {records}")
    return usage


def _ask(*words: str) -> str:
    command = [sys.executable, "-m", "benchmarks.loaded", *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout


def compare(loaders: Sequence[Loader], records: int, rounds: int) -> list[Row]:
    """Run loaders in turn, and say what they took in the median.

    Args:
        loaders: Which ones.
        records: How many records they load.
        rounds: How often each runs.

    Returns:
        A row for each of them.

    Raises:
        RunFailed: One of them failed, or loaded other records.
    """
    directory = Path(tempfile.mkdtemp(prefix="bulk-export-bench-"))
    try:
        export = exported(records, directory)
        _ask("clean", str(export / ENDPOINT), str(_cleaned(export)))
        (directory / "server").mkdir()
        used: dict[str, list[Usage]] = {loader.name: [] for loader in loaders}
        with placed(cores()[0]), postgres_server(directory / "server") as server:
            for number in range(rounds):
                for loader in loaders:
                    schema = f"round_{number}_{loader.name.replace('-', '_')}"
                    used[loader.name].append(once(loader, server, schema, export, records))
    finally:
        shutil.rmtree(directory)
    return [_row(loader, used, records) for loader in loaders]


def _row(loader: Loader, used: dict[str, list[Usage]], records: int) -> Row:
    own, reference = used[loader.name], used.get(REFERENCE, [])
    ratios = [other.seconds / usage.seconds for usage, other in zip(own, reference, strict=False)]
    return {
        "name": loader.name,
        "title": loader.title,
        "records_per_second": round(records / statistics.median(usage.seconds for usage in own)),
        "of_reference": round(statistics.median(ratios), 1) if ratios else None,
        "cpu_seconds": round(statistics.median(usage.cpu_seconds for usage in own), 2),
        "peak_mb": round(statistics.median(usage.peak_mb for usage in own)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the options ask for, and print a table and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="(100000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each loader runs (3)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="part of the name of a loader")
    chosen = parser.parse_args(arguments)
    if binaries() is None:
        parser.error("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    asked = [one for one in LOADERS if not chosen.only or any(part in one.name for part in chosen.only)]
    there = [one for one in asked if one.name.startswith("ours") or _PEERS.exists()]
    if len(there) < len(asked):
        print("no peers: make bench-peers sets them up")
    rows = compare(there, chosen.records, chosen.rounds)
    shown = [[report.shown(row[key]) for key, _ in COLUMNS] for row in rows]
    print(report.aligned([[heading for _, heading in COLUMNS], *shown]))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
