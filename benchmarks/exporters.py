"""Everything that is measured as a whole process: its command, and where its records are to be counted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import ROOT, TOKEN

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, slots=True)
class Exporter:
    """One way to get all records.

    `form` is what it leaves, as `benchmarks.counting` knows it. `command` is made from an address, a number of
    records, a page size and an empty directory. `reference` names what its rate is compared with.
    """

    name: str
    title: str
    group: str
    form: str
    command: Callable[[str, int, int, Path], list[str]]
    reference: str
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: Path = Path(sys.executable)

    @property
    def available(self) -> bool:
        """Whether its interpreter is there: those of peers are made by `make bench-peers`."""
        return self.needs.exists()


def _module(*words: str) -> Callable[[str, int, int, Path], list[str]]:
    return lambda url, records, size, target: [sys.executable, "-m", *words, url, str(records), str(size), str(target)]


def _export(form: str, *more: str, budget: str = "memory://") -> Callable[[str, int, int, Path], list[str]]:
    def command(base_url: str, records: int, page_size: int, target: Path) -> list[str]:
        free = ["--service-limit=100000000/1s", "--ip-limit=100000000/1s", "--min-interval=0"]
        kept = budget.format(target)
        given = [f"--base-url={base_url}", f"--page-size={page_size}", f"--output={target / 'out'}", f"--budget={kept}"]
        return [
            *[sys.executable, "-m", "bulk_export", "export", "npq-applications", "--progress=none"],
            *[f"--format={form}", *free, *given, *more],
        ]

    return command


def _ours(name: str, title: str, form: str, *more: str, budget: str = "memory://") -> Exporter:
    return Exporter(
        name,
        title,
        "ours",
        form,
        _export(form, *more, budget=budget),
        f"reference-{form}",
        {"BULK_EXPORT_TOKEN": TOKEN},
    )


def _peer(folder: str, mode: str, title: str, form: str) -> Exporter:
    python = ROOT / f".venv-{folder}" / "bin" / "python"
    script = PEERS / folder / "run.py"
    return Exporter(
        f"{folder}-{mode}",
        title,
        "peers",
        form,
        lambda url, records, size, target: [str(python), str(script), mode, url, str(records), str(size), str(target)],
        "reference-ndjson" if form != "parquet" else "reference-parquet",
        needs=python,
    )


EXPORTERS: tuple[Exporter, ...] = (
    Exporter(
        "ceiling", "ceiling: read and drop", "bounds", "nothing", _module("benchmarks.straight", "ceiling"), "ceiling"
    ),
    Exporter(
        "reference-parquet",
        "reference to Parquet",
        "bounds",
        "parquet",
        _module("benchmarks.straight", "parquet"),
        "reference-parquet",
    ),
    Exporter(
        "reference-ndjson",
        "reference to NDJSON",
        "bounds",
        "ndjson",
        _module("benchmarks.straight", "ndjson"),
        "reference-ndjson",
    ),
    _ours("parquet", "bulk-export to Parquet", "parquet"),
    _ours("parquet-budget-file", "… with the budget in a file", "parquet", budget="sqlite:///{}/budget.sqlite"),
    _ours("ndjson", "bulk-export to NDJSON", "ndjson"),
    _ours("ndjson-flat", "… with the columns of Parquet", "ndjson", "--flatten"),
    _ours("ndjson-zstd", "bulk-export to NDJSON, zstd", "ndjson", "--compression=zstd"),
    Exporter(
        "stream",
        "bulk-export, stream() to batches",
        "ours",
        "said",
        _module("benchmarks.ours", "stream"),
        "reference-parquet",
    ),
    _peer("by_hand", "parquet", "by hand to Parquet", "parquet"),
    _peer("by_hand", "ndjson", "by hand to JSON lines", "ndjson"),
    _peer("dlt", "parquet", "dlt to Parquet", "parquet"),
    _peer("dlt", "parquet-tuned", "dlt to Parquet, tuned", "parquet"),
    _peer("dlt", "parquet-arrow", "dlt to Parquet, handed Arrow tables", "parquet"),
    _peer("dlt", "jsonl", "dlt to JSON lines", "ndjson"),
    _peer("dlt", "jsonl-tuned", "dlt to JSON lines, tuned", "ndjson"),
    _peer("airbyte", "messages", "airbyte-cdk to messages", "airbyte"),
    _peer("singer", "messages", "singer-sdk to messages", "singer"),
    _peer("singer", "messages-tuned", "singer-sdk to messages, tuned", "singer"),
)
UNJOURNALLED: tuple[Exporter, ...] = tuple(
    Exporter(
        f"unjournalled-{form}",
        f"bulk-export to {title}, pages in memory",
        "ours",
        "said",
        _module("benchmarks.ours", f"unjournalled-{form}"),
        f"reference-{form}",
    )
    for form, title in (("parquet", "Parquet"), ("ndjson", "NDJSON"))
)


def named(name: str) -> Exporter:
    """The exporter of that name."""
    return next(one for one in (*EXPORTERS, *UNJOURNALLED) if one.name == name)
