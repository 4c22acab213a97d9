"""When a poll started by the service's clock, from what the answers of its loads and of earlier polls say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from bulk_export.core.clock import MIN_AGREEING, TOLERANCE, consensus, trusted_difference
from bulk_export.pipelines.sync.fetch import GroupLoad
from bulk_export.pipelines.sync.state import CopyState, OpenPoll


def clock_ahead(loads: Sequence[GroupLoad], state: CopyState) -> float:
    """Return the seconds by which the service's clock is taken to be ahead of ours; negative if it is behind.

    A start that is too early costs requests, one that is too late costs changes, so the least of the loads counts. The
    readings of earlier polls support those of this one: polls of one answer each agree as well as answers of one poll.
    """
    differences = []
    for ahead, answers in (load.clock_reading for load in loads):
        supporting = 0 if ahead is None else sum(1 for kept in state.clock_readings if abs(kept - ahead) <= TOLERANCE)
        differences.append(trusted_difference(ahead, answers + supporting, state.clock_ahead))
    return min(differences, default=state.clock_ahead)


def poll_start(poll: OpenPoll, ahead: float) -> datetime:
    """Return when a poll started, by a service's clock that is `ahead` seconds ahead of ours."""
    return poll.started_at + timedelta(seconds=ahead)


def clock_readings(loads: Sequence[GroupLoad], state: CopyState) -> tuple[float, ...]:
    """Return the readings of the last polls, one of each, including this one's."""
    reading, _ = consensus([ahead for ahead, _ in (load.clock_reading for load in loads) if ahead is not None])
    return state.clock_readings if reading is None else (*state.clock_readings, reading)[-MIN_AGREEING:]


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
