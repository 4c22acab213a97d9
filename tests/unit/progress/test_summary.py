"""The summary of an export, and what is said of it even to those who want to hear nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from bulk_export.progress.console import Console
from bulk_export.progress.line_display import SilentProgress
from bulk_export.progress.observer import EndpointSummary, ExportSummary
from bulk_export.progress.summary import remarks, summary_object


def summary(**endpoint: Any) -> ExportSummary:
    given: dict[str, Any] = {"records": 5, "pages": 1, "requests": 2, "duplicates": 0, "files": 1, "bytes": 10}
    given |= {"drift": {}} | endpoint
    return ExportSummary(Path("out"), (EndpointSummary("statements", **given),), 2, 0, 0, 0, 1.0)


@pytest.mark.parametrize(
    "endpoint", [{"suspicious_end": True}, {"consistent": False}, {"changed_during_export": True}, {"shared_ids": 2}]
)
def test_quiet_says_what_may_be_missing(endpoint: dict[str, Any]) -> None:
    """A display that is silent otherwise says that a record may be missing."""
    written = io.StringIO()
    SilentProgress(Console(written)).finished(summary(**endpoint))
    assert written.getvalue().startswith("warning: statements: ")


def test_quiet_says_nothing_else() -> None:
    """New fields are kept, so they are not worth a word to those who want none."""
    written = io.StringIO()
    found = summary(drift={"unknown": {"new": 1}})
    SilentProgress(Console(written)).finished(found)
    assert written.getvalue() == ""
    assert remarks(found) == ["statements: new fields, kept in _extra: new"]


def test_summary_for_machines() -> None:
    """The summary is one JSON object with numbers and remarks."""
    found = json.loads(json.dumps(summary_object(summary(suspicious_end=True))))
    assert (found["records"], found["files"], found["seconds"]) == ({"statements": 5}, 1, 1.0)
    assert len(found["remarks"]) == 1
