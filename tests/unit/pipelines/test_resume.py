"""What is kept of the options of an export, so that it can be resumed by its directory."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Limit
from bulk_export.output.run_arguments import write_arguments
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.resume import arguments_to_resume
from bulk_export.services.catalogue import load_service


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("service_limit", Limit(900, 299.5), "service_limit"),
        ("ip_limit", Limit(1, 0.25), "ip_limit"),
        ("min_interval", timedelta(milliseconds=250), "min_interval"),
        ("min_interval", Fraction(1, 4), "min_interval"),
        ("max_wait", timedelta(minutes=2), "max_wait"),
        ("updated_since", date(2025, 3, 1), "updated_since"),
        ("updated_since", datetime(2025, 3, 1, 4, tzinfo=UTC), "updated_since"),
        ("filter", {"cohort": "2023"}, "filters"),
        ("drop_column", {"email": 1}.keys(), "drop_columns"),
        ("format", ("csv", "parquet"), "formats"),
        ("share", 0.5, "share"),
    ],
)
def test_values_of_python_come_back(name: str, value: Any, field: str, tmp_path: Path) -> None:
    """What only Python has is kept as what a file can hold, and means the same."""
    given: dict[str, Any] = {"environment": "local", "token": "t", name: value}
    begun = ExportOptions.of(["npq-applications"], output=tmp_path, **given)
    assert begun.arguments is not None
    assert "token" not in begun.arguments.options
    (tmp_path / ".bulk-export").mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    write_arguments(tmp_path, begun.arguments)
    endpoints, kept = arguments_to_resume(tmp_path)
    resumed = ExportOptions.of(endpoints, token="t", **kept)
    assert getattr(resumed, field) == getattr(begun, field)
    assert json.loads((tmp_path / ".bulk-export/arguments.json").read_text())["options"].keys() >= {name}


def test_description_as_an_object() -> None:
    """It cannot be kept; the same call goes on with such an export."""
    assert ExportOptions.of(["statements"], environment="local", service=load_service("npq")).arguments is None
