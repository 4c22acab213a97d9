"""What a poll asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.plan_poll import FullSyncPlan, can_resume, group_by_since, plan_full_sync
from bulk_export.pipelines.sync.state import CopyState, OpenPoll
from bulk_export.pipelines.sync.watermark import Watermark


def at(minutes: float) -> datetime:
    return datetime(2025, 6, 2, 12, tzinfo=UTC) + timedelta(minutes=minutes)


def test_endpoints_are_grouped_by_since() -> None:
    """Endpoints that ask from the same instant are fetched together; those without changes ask for everything."""
    marks = {"a": Watermark((at(0), at(60))), "b": Watermark((at(0), at(61))), "c": Watermark((at(30), at(60)))}
    groups = group_by_since(marks, ["a", "all", "b", "c"], {"all"}, at(120))
    assert groups == [(at(0), ("a", "b")), (None, ("all",)), (at(30), ("c",))]


def planned(directory: Path, now: datetime, marks: dict[str, Watermark], **changes: Any) -> FullSyncPlan:
    options = SyncOptions.of(["statements", "delivery-partners"], environment="local", output=directory, **changes)
    return plan_full_sync(options, CopyState({}, marks), now, needs_proof=False)


def test_a_full_sync_waits_for_the_window(tmp_path: Path) -> None:
    """Endpoints that were never fetched wait for it themselves, and the others are polled meanwhile."""
    window = {"between": "01:00-05:00", "timezone": "UTC"}
    old = Watermark((at(0),), at(-60 * 24 * 8))
    names = ("statements", "delivery-partners")
    both = dict.fromkeys(names, old)
    assert planned(tmp_path, at(0), both) == FullSyncPlan(names)
    assert planned(tmp_path, at(60 * 14), both, **window) == FullSyncPlan(names)
    closed = planned(tmp_path, at(0), both, **window)
    assert closed.names == ()
    assert "waits for the window" in (closed.remark or "")
    assert planned(tmp_path, at(0), {"statements": old}, **window) == FullSyncPlan(("delivery-partners",))


def test_a_proof_is_not_put_off(tmp_path: Path) -> None:
    """With a new token or address, a run outside of the window is refused."""
    options = SyncOptions.of(
        ["statements"], environment="local", output=tmp_path, between="01:00-05:00", timezone="UTC"
    )
    with pytest.raises(UsageError, match=r"the window .* is closed"):
        plan_full_sync(options, CopyState({}), at(0), needs_proof=True)


def test_which_open_poll_is_resumed() -> None:
    """One that asks for the same endpoints, and from no time in the future."""
    poll = OpenPoll(1, at(0), ((at(-120), ("a",)), (None, ("b",))))
    assert can_resume(poll, ["b", "a"], at(0))
    assert can_resume(poll, ["b", "a"], at(-4))
    assert not can_resume(poll, ["a"], at(0))
    assert not can_resume(poll, ["b", "a"], at(-6))
