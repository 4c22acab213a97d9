"""When a poll started by the service's clock, from what the answers of its loads and of earlier polls say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bulk_export.core.clock import TOLERANCE, consensus, kept_readings, supported_difference
from bulk_export.pipelines.sync.fetch import GroupLoad
from bulk_export.pipelines.sync.state import CopyState, OpenPoll


def clock_ahead(loads: Sequence[GroupLoad], state: CopyState) -> float:
    """Return the seconds by which the service's clock is taken to be ahead of ours; negative if it is behind.

    A start that is too early costs requests, one that is too late costs changes, so the least of the loads counts.
    """
    readings = (load.clock_reading for load in loads)
    differences = (supported_difference(*reading, state.clock_readings, state.clock_ahead) for reading in readings)
    return min(differences, default=state.clock_ahead)


def poll_start(poll: OpenPoll, ahead: float) -> datetime:
    """Return when a poll started, by a service's clock that is `ahead` seconds ahead of ours."""
    return poll.started_at + timedelta(seconds=ahead)


def clock_readings(loads: Sequence[GroupLoad], state: CopyState) -> tuple[float, ...]:
    """Return the readings of the last polls, one of each, including this one's."""
    reading, _ = consensus([ahead for ahead, _ in (load.clock_reading for load in loads) if ahead is not None])
    return kept_readings(state.clock_readings, reading)


def clock_remark(loads: Sequence[GroupLoad], ahead: float) -> str | None:
    """Return a remark if the clocks are more than five minutes apart; `ahead` is the difference that is used."""
    readings = [seconds for load in loads if (seconds := load.clock_reading[0]) is not None]
    largest = max(readings, key=abs, default=0.0)
    if abs(largest) <= TOLERANCE:
        return None
    by = f"{abs(largest):,.0f} s {'ahead of' if largest > 0 else 'behind'} ours"
    if abs(largest - ahead) <= TOLERANCE:
        return f"The service's clock is {by}; the copy goes by the service's."
    return f"The service's clock is {by}, which is not believed: check the clock of this machine."
