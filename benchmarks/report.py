"""Figures as text, as Markdown between markers of a document, and as plots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
Rows = Sequence[Mapping[str, Any]]

# Section: (key of the row, heading) for each column.
COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "throughput": (
        ("title", "whole process"),
        ("encoding", "sent as"),
        ("records_per_second", "records/s"),
        ("of_reference", "of the reference"),
        ("cpu_of_reference", "of it, by CPU time"),
        ("of_ceiling", "of the ceiling"),
        ("cpu_seconds_per_million", "CPU s / million"),
        ("peak_mb", "peak MB"),
    ),
    "peers": (
        ("title", "whole process"),
        ("records_per_second", "records/s"),
        ("ours_to_it", "ours is faster by"),
        ("cpu_seconds_per_million", "CPU s / million"),
        ("peak_mb", "peak MB"),
    ),
    "conversion": (("way", "one page of 300"), ("ms_a_page", "ms"), ("of_orjson", "of `orjson.loads`")),
    "memory": (("title", "export"), ("records", "records"), ("peak_mb", "peak MB"), ("seconds", "seconds")),
    "startup": (("what", "start"), ("seconds", "seconds")),
    "journal": (
        ("form", "export"),
        ("encoding", "sent as"),
        ("seconds", "seconds"),
        ("without", "pages in memory only"),
        ("cost", "journal adds"),
        ("cpu_cost", "CPU time"),
    ),
}


def cells(section: str, rows: Rows) -> list[list[str]]:
    """The headings, and the rows as they are shown."""
    columns = COLUMNS[section]
    return [[heading for _, heading in columns], *([shown(row.get(key)) for key, _ in columns] for row in rows)]


def shown(value: object) -> str:
    """A cell: whole numbers with separators, nothing where nothing was measured."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def aligned(table: Sequence[Sequence[str]]) -> str:
    """For a terminal: the first column flush left, the others right."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    )


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A Markdown table, numbers flush right."""
    heading, *rows = table
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *rows))


def merged(results: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a run, and of earlier ones where it measured nothing."""
    return {
        "machine": results["machine"],
        "settings": {**earlier.get("settings", {}), **results["settings"]},
        "sections": {**earlier.get("sections", {}), **results["sections"]},
    }


def write_document(results: Mapping[str, Any], document: Path = DOCUMENT) -> None:
    """Replace the sections of the document that `results` has figures for, and keep the others.

    Raises:
        ValueError: The document has no markers for a section.
    """
    text = document.read_text()
    contents = {}
    for section, rows in results["sections"].items():
        measured = markdown(cells(section, rows)), results["settings"].get(section, "")
        contents[section] = "\n\n".join(filter(None, measured))
    contents["machine"] = _machine(results["machine"])
    for section, content in contents.items():
        text = _replaced(text, section, content)
    document.write_text(text)


def _replaced(text: str, section: str, content: str) -> str:
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"the document has no place for {section}")
    return pattern.sub(lambda _: f"{begin}\n{content}\n{end}", text)


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}, "
        f"Python {machine['python']}, {machine['libraries']}; pages of {machine['page_size']} records, "
        f"{machine['page_kb']} kB when inflated."
    )
