"""When a poll started by the service's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulk_export.pipelines.sync.fetch import GroupLoad
from bulk_export.pipelines.sync.service_clock import clock_ahead, clock_readings, clock_remark, poll_start
from bulk_export.pipelines.sync.state import CopyState, OpenPoll

HOUR, DAY = 3_600.0, 86_400.0


def load(ahead: float | None, answers: int = 1) -> GroupLoad:
    run = {"server_clock_ahead": ahead, "server_clock_answers": answers}
    return GroupLoad(Path(), {"run": run, "endpoints": {}}, None)


@pytest.mark.parametrize(
    ("loads", "readings", "wanted"),
    [
        ([], (), 7.0),
        ([load(None)], (), 7.0),
        ([load(60.0)], (), 60.0),
        ([load(60.0), load(-10.0)], (), -10.0),
        ([load(HOUR)], (), 0.0),
        ([load(-HOUR)], (), -HOUR),
        ([load(-2 * DAY)], (), 7.0),
        ([load(-2 * DAY, answers=3)], (), -2 * DAY),
        ([load(-2 * DAY)], (-2 * DAY, -2 * DAY + 1), -2 * DAY),
        ([load(-2 * DAY)], (-9 * DAY, 0.0), 7.0),
    ],
)
def test_the_earliest_credible_clock_counts(loads: list[GroupLoad], readings: tuple[float, ...], wanted: float) -> None:
    """A clock that is far ahead is not followed; one far behind only if three answers, of any polls, agree."""
    assert clock_ahead(loads, CopyState({}, clock_ahead=7.0, clock_readings=readings)) == wanted


def test_a_start_is_moved_by_the_difference() -> None:
    noon = datetime(2025, 6, 2, 12, tzinfo=UTC)
    assert poll_start(OpenPoll(1, noon, ()), -60.0) == noon - timedelta(minutes=1)


def test_the_last_three_readings_are_kept() -> None:
    state = CopyState({}, clock_readings=(1.0, 2.0, 3.0))
    assert clock_readings([load(4.0), load(5.0)], state) == (2.0, 3.0, 4.0)
    assert clock_readings([load(None)], state) == (1.0, 2.0, 3.0)


def test_clocks_that_differ_little_make_no_remark() -> None:
    assert clock_remark([load(None), load(-299.0)], 0.0) is None


def test_a_remark_says_which_clock_is_used() -> None:
    assert "3,600 s behind ours; the copy goes by" in (clock_remark([load(-HOUR)], -HOUR) or "")
    assert "3,600 s ahead of ours, which is not believed" in (clock_remark([load(HOUR)], 0.0) or "")
