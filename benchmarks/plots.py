"""The plots of the performance page, the same to the last byte for the same figures.

    python -m benchmarks.plots RESULTS DIRECTORY

in an environment with the extra `bench`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS = {"bounds": "#9aa5b1", "ours": "#1d6fa5", "peers": "#d08c3c"}
_TARGET_MB = 300


def draw(results: Mapping[str, Any], directory: Path) -> None:
    """Draw what there are figures for: `throughput.svg` and `memory.svg`."""
    sections = results["sections"]
    if "throughput" in sections or "peers" in sections:
        plain = [row for row in sections.get("throughput", ()) if row["encoding"] == "plain"]
        known = {row["exporter"] for row in plain}
        peers = [row for row in sections.get("peers", ()) if row["exporter"] not in known]
        throughput([*plain, *peers], directory / "throughput.svg")
    if "memory" in sections:
        memory(sections["memory"], directory / "memory.svg")


def throughput(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A bar for each exporter, on a logarithmic scale."""
    ordered = sorted(rows, key=lambda row: row["records_per_second"])
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 0.32 * len(ordered) + 1.2), layout="constrained")
    rates = [row["records_per_second"] for row in ordered]
    bars = axes.barh(
        [row["title"].replace("… ", "bulk-export to Parquet, ") for row in ordered],
        rates,
        color=[_COLOURS[row["group"]] for row in ordered],
    )
    axes.bar_label(bars, [f"{rate:,}" for rate in rates], padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=max(rates) * 2.5)
    axes.set_xlabel("records a second, whole process")
    axes.spines[["top", "right"]].set_visible(False)
    _save(plt, figure, path)


def memory(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Peak memory against the number of records."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for title in dict.fromkeys(row["title"] for row in rows):
        own = [row for row in rows if row["title"] == title]
        axes.plot([row["records"] for row in own], [row["peak_mb"] for row in own], marker="o", label=title)
    axes.axhline(_TARGET_MB, linestyle=":", color="#9aa5b1", label=f"{_TARGET_MB} MB")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("records")
    axes.set_ylabel("peak MB")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(plt, figure, path)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "bulk-export", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    return pyplot


def _save(plt: Any, figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
