"""What a poll asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bulk_export.pipelines.sync.plan_poll import group_by_since
from bulk_export.pipelines.sync.watermark import Watermark


def at(minutes: float) -> datetime:
    return datetime(2025, 6, 2, 12, tzinfo=UTC) + timedelta(minutes=minutes)


def test_endpoints_are_grouped_by_since() -> None:
    """Endpoints that ask from the same instant are fetched together; those without changes ask for everything."""
    marks = {"a": Watermark((at(0), at(60))), "b": Watermark((at(0), at(61))), "c": Watermark((at(30), at(60)))}
    groups = group_by_since(marks, ["a", "all", "b", "c"], {"all"}, at(120))
    assert groups == [(at(0), ("a", "b")), (None, ("all",)), (at(30), ("c",))]
