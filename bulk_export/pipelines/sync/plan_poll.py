"""Decides what a poll asks for: who is due for a full sync, and from when on the others' changes are asked for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from bulk_export.core.clock import TOLERANCE
from bulk_export.errors import UsageError
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import CopyState, Group, OpenPoll
from bulk_export.pipelines.sync.watermark import Watermark

_NO_INTERVAL = timedelta(0)
_TOLERANCE = timedelta(seconds=TOLERANCE)


@dataclass(frozen=True, slots=True)
class FullSyncPlan:
    """The endpoints to be swept in full now, and a remark if others wait."""

    names: tuple[str, ...]
    remark: str | None = None


def plan_full_sync(options: SyncOptions, state: CopyState, now: datetime, *, needs_proof: bool) -> FullSyncPlan:
    """Decide which endpoints get a full sync now.

    1. While the daily window is open, or without one: all that are due.
    2. While it is closed: those that were never fetched, which wait for it. The others go without the full sync.

    Args:
        options: What is to be polled.
        state: The state of the copy.
        now: The present by our clock, which the daily window goes by.
        needs_proof: Whether nothing may be merged before a full sync has shown whose records come now.

    Raises:
        UsageError: A full sync is needed as a proof, and the window is closed.
    """
    window, service_now = options.full.window, state.service_time(now)
    names = [endpoint.name for endpoint in options.full.endpoints]
    due = tuple(name for name in names if _is_due(options, state, name, service_now))
    if window is None or window.open_at(now):
        return FullSyncPlan(due)
    if needs_proof:
        raise UsageError(
            f"A copy that goes on with another token or address needs a full sync, and the window {window} is closed.",
            kept="Nothing was changed.",
            next_step="Run this in the window, or once without --between.",
        )
    new = tuple(name for name in due if name not in state.watermarks)
    if due and not new:
        return FullSyncPlan((), f"A full sync is due, and waits for the window {window}.")
    return FullSyncPlan(new)


def can_resume(poll: OpenPoll, names: Sequence[str], latest: datetime) -> bool:
    """Whether an open poll asks for these endpoints, and from no time after `latest`, give or take five minutes."""
    if {name for _, group in poll.groups for name in group} != set(names):
        return False
    moments = (poll.started_at, *(since for since, _ in poll.groups))
    return all(moment is None or moment <= latest + _TOLERANCE for moment in moments)


def group_by_since(
    watermarks: Mapping[str, Watermark],
    names: Iterable[str],
    without_changes: Container[str],
    now: datetime,
    intervals: Mapping[str, timedelta] = MappingProxyType({}),
) -> list[Group]:
    """Group endpoints that ask for changes from the same instant, so that one export fetches each group.

    Args:
        watermarks: The watermarks of the endpoints.
        names: The endpoints, in the order of the groups.
        without_changes: Endpoints that are asked for everything, since they cannot be asked for changes or are due.
        now: The present by the service's clock.
        intervals: The time between two scheduled polls of each endpoint.
    """
    groups: dict[datetime | None, list[str]] = {}
    for name in names:
        watermark, interval = watermarks.get(name, Watermark()), intervals.get(name, _NO_INTERVAL)
        since = None if name in without_changes else watermark.since(now, interval)
        groups.setdefault(since, []).append(name)
    return [(since, tuple(group)) for since, group in groups.items()]


def _is_due(options: SyncOptions, state: CopyState, name: str, service_now: datetime) -> bool:
    """Whether the last full sync is too old, proved nothing, or kept removed rows that are to be deleted now."""
    if state.watermarks.get(name, Watermark()).is_full_due(service_now, options.full_every):
        return True
    return options.removed == "delete" and state.mark_of(name).removed != "delete"
