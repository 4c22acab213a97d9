"""What is stated of a run: its identity, what it lacks, and its numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.results import export_identity, not_exported_text, resumable_schema, summarise

OPTIONS = ExportOptions.of(["delivery-partners"], base_url="https://example.org", token="t", budget="memory://")


def test_the_identity_holds_what_must_not_change() -> None:
    """Another page size is another export; another number of workers, output or token is the same one."""
    identity = export_identity(OPTIONS)
    assert export_identity(replace(OPTIONS, workers=1, output=Path("elsewhere"), token=None)) == identity
    changed = export_identity(replace(OPTIONS, page_size=7))
    assert {name for name in identity if identity[name] != changed[name]} == {"page_size"}


@pytest.mark.parametrize(("mode", "kept"), [("lax", "lax"), ("strict", "lax"), ("infer", "infer")])
def test_a_strict_run_may_go_on_as_a_lax_one(mode: str, kept: str) -> None:
    """Both write the same columns; with inferred ones, the parts of an earlier run would not fit."""
    assert resumable_schema(mode) == kept


def test_missing_lists_are_named_up_to_twenty() -> None:
    left_out = [(f"list-{number}", "needs a filter") for number in range(22)]
    assert not_exported_text(left_out[:1]) == "1 list was not exported: list-0 (needs a filter)"
    text = not_exported_text(left_out)
    assert text.startswith("22 lists were not exported: list-0 (needs a filter); ")
    assert text.endswith("list-19 (needs a filter); and 2 more, which manifest.json names")


def test_counters_of_another_version_are_passed_over() -> None:
    """A manifest that another version decided on may count more than this one can show."""
    manifest: dict[str, Any] = {
        "endpoints": {},
        "run": {"requests": 3, "retries": 1, "throttled": 0, "resumed": 0, "invented_later": 5},
    }
    summary = summarise(manifest, Path("out"), 1.5)
    assert (summary.requests, summary.retries, summary.seconds) == (3, 1, 1.5)
