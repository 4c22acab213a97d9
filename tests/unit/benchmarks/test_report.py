"""Figures of a benchmark: how they are compared, and how they reach a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.exporters import EXPORTERS, UNJOURNALLED, named
from benchmarks.processes import Usage
from benchmarks.throughput import Run, ratio

MACHINE = {
    "processor": "P",
    "cores": 2,
    "memory_gb": 8,
    "system": "Linux",
    "python": "3.11",
    "libraries": "x 1",
    "page_size": 300,
    "page_kb": 340,
}


def rounds(*seconds: tuple[float, float]) -> list[dict[str, Run]]:
    ours, theirs = named("parquet"), named("reference-parquet")
    return [
        {ours.name: Run(ours, 1000, Usage(a, 2 * a, 1)), theirs.name: Run(theirs, 1000, Usage(b, b, 1))}
        for a, b in seconds
    ]


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    # A slow moment of the machine hits both runs of a round: 2, 0.5 and 2 times as fast, whatever the sums say.
    runs = rounds((1, 2), (90, 45), (3, 6))
    assert ratio("parquet", "reference-parquet", runs) == 2
    assert ratio("parquet", "reference-parquet", runs, Run.cpu_rate) == 1


def test_there_is_no_ratio_to_what_was_not_run() -> None:
    assert ratio("parquet", "ceiling", rounds((1, 2))) is None


def test_figures_replace_marked_text_only(tmp_path: Path) -> None:
    """Figures replace the text between their markers, and nothing else."""
    document = tmp_path / "performance.md"
    document.write_text(
        "# Before\n<!-- begin machine -->\nold\n<!-- end machine -->\n"
        "<!-- begin startup -->\n<!-- end startup -->\n<!-- begin memory -->\nkept\n<!-- end memory -->\nafter\n"
    )
    rows = [{"what": "help", "seconds": 0.12}]
    results = {"machine": MACHINE, "settings": {"startup": "Often."}, "sections": {"startup": rows}}
    report.write_document(results, document)
    once = document.read_text()
    assert "| start | seconds |\n| --- | ---: |\n| help | 0.12 |\n\nOften.\n" in once
    assert "P, 2 cores, 8 GB" in once
    assert "old" not in once
    assert "kept" in once
    assert once.startswith("# Before\n")
    assert once.endswith("after\n")
    report.write_document(results, document)
    assert document.read_text() == once


def test_document_without_markers_is_left_alone(tmp_path: Path) -> None:
    """A document without the markers of a section is left alone."""
    document = tmp_path / "performance.md"
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="no place for startup"):
        report.write_document({"machine": MACHINE, "settings": {}, "sections": {"startup": []}}, document)
    assert document.read_text() == "nothing\n"


def test_partial_run_leaves_other_figures() -> None:
    """A run of some sections leaves the figures of the others."""
    before = {"machine": {}, "settings": {"peers": "a"}, "sections": {"peers": [1], "startup": [2]}}
    now = {"machine": MACHINE, "settings": {"journal": "b"}, "sections": {"startup": [3]}}
    assert report.merged(now, before) == {
        "machine": MACHINE,
        "settings": {"peers": "a", "journal": "b"},
        "sections": {"peers": [1], "startup": [3]},
    }
    assert report.merged(now, {}) == now


@pytest.mark.parametrize("section", report.COLUMNS)
def test_performance_page_has_every_section(section: str) -> None:
    """The performance page has the markers of every section."""
    text = report.DOCUMENT.read_text()
    assert text.count(f"<!-- begin {section} -->") == text.count(f"<!-- end {section} -->") == 1


def test_a_cell_says_where_nothing_was_measured() -> None:
    assert [report.shown(value) for value in (1234567, 0.25, None, "x")] == ["1,234,567", "0.25", "-", "x"]


def test_exporters_are_unique_with_references() -> None:
    """Exporters have names of their own, and references that exist."""
    everything = [*EXPORTERS, *UNJOURNALLED]
    assert len({one.name for one in everything}) == len(everything)
    assert {one.reference for one in everything} <= {one.name for one in EXPORTERS}


def test_peers_have_script_and_requirements() -> None:
    """Every peer has its script and pinned requirements."""
    folders = {one.needs.parents[1].name.removeprefix(".venv-") for one in EXPORTERS if one.group == "peers"}
    assert folders == {"by_hand", "dlt", "airbyte", "singer"}
    for folder in folders:
        home = Path(report.__file__).parent / "peers" / folder
        pins = {line.split("==")[0].lower() for line in (home / "constraints.txt").read_text().splitlines()}
        wanted = {line.split("[")[0].lower() for line in (home / "requirements.txt").read_text().splitlines()}
        assert (home / "run.py").exists()
        assert wanted <= pins
