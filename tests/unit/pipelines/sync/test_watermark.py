"""From when on a poll asks, and when everything is due."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_with_hourly_polls_a_quarter_past_three_asks_from_a_quarter_past_one() -> None:
    mark = Watermark().after_full(at(-45)).after_changes(at(15)).after_changes(at(75)).after_changes(at(135))
    assert mark.polls == (at(75), at(135))
    assert mark.since(at(195)) == at(75)


def test_nothing_known_is_everything_and_after_one_poll_it_asks_from_as_far_before_it_as_it_lies_back() -> None:
    assert Watermark().since(NOON) is None
    assert Watermark().after_full(at(0)).since(at(60)) == at(-60)
    assert Watermark().after_full(at(0)).since(at(-5)) == at(0)
    assert Watermark((datetime(2001, 1, 1, tzinfo=UTC),)).since(datetime(9999, 1, 1, tzinfo=UTC)).year == 2000  # type: ignore[union-attr]


def test_parts_of_a_second_are_cut_off_since_the_service_shows_whole_ones() -> None:
    mark = Watermark((NOON.replace(microsecond=999_999), at(60)))
    assert mark.since(at(120)) == NOON


def test_a_full_sync_is_due_at_first_and_a_period_after_the_start_of_the_last() -> None:
    week = timedelta(days=7)
    assert Watermark().is_full_due(NOON, week)
    done = Watermark().after_full(NOON)
    assert not done.is_full_due(NOON + week - timedelta(seconds=1), week)
    assert done.is_full_due(NOON + week, week)


def test_a_poll_that_seems_older_than_the_last_moves_nothing_forward() -> None:
    mark = Watermark((at(0), at(60)), at(0))
    assert mark.after_changes(at(30)).polls == (at(30), at(60))


def test_after_an_interrupted_poll_that_was_resumed_the_next_asks_from_the_window_before_it_at_least() -> None:
    mark = Watermark((at(0), at(600)), at(0))
    assert mark.after_changes(at(630)).since(at(660)) == at(600)
    assert mark.after_changes(at(630), resumed=True).since(at(660)) == at(30)
    assert mark.after_full(at(630), resumed=True).since(at(660)) == at(30)
    assert mark.after_changes(at(1800), resumed=True).since(at(1830)) == at(600)
    assert Watermark((at(0),), at(0)).after_changes(at(10), resumed=True).polls == (at(0), at(10))


def test_a_full_sync_that_polls_overtook_makes_the_next_one_ask_from_before_its_start() -> None:
    mark = Watermark((at(600), at(660)), at(-10_000)).after_full(at(0))
    assert mark.since(at(720)) == at(-60)
    after = mark.after_changes(at(720))
    assert (after.since(at(780)), after.full) == (at(660), at(0))


@given(
    st.lists(st.integers(1, 200), min_size=3, max_size=12),
    st.integers(0, 3_000),
    st.floats(0, 1),
)
def test_a_change_committed_up_to_one_window_late_is_asked_for_by_the_next_poll(
    gaps: list[int], when: int, lateness: float
) -> None:
    """Whatever the polls are apart: the window is the one between the two polls before."""
    starts = [at(0)]
    for gap in gaps:
        starts.append(starts[-1] + timedelta(minutes=gap))
    mark = Watermark().after_full(starts[0])
    committed = at(when % sum(gaps))
    for before, start in itertools.pairwise(starts):
        since = mark.since(start)
        if before < committed <= start:
            window = mark.polls[-1] - mark.polls[0] if len(mark.polls) > 1 else start - before
            assert since is not None
            assert since <= committed - window * lateness
        mark = mark.after_changes(start)


def seen(*minutes: float, every: timedelta | None = None) -> PollSchedule:
    schedule = PollSchedule()
    for moment in minutes:
        schedule = schedule.after(at(moment), every)
    return schedule


HOURLY = timedelta(hours=1)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        (PollSchedule(), HOURLY),
        (seen(0, 60, 120), HOURLY),
        (seen(0, 60, 61, 62, 63, 120), HOURLY),
        (seen(0, 360, 720), timedelta(hours=6)),
        (seen(0, 360, 361, 362, 720, 1_080, 1_440), timedelta(hours=6)),
        (seen(0, 5, 10, 15), HOURLY),  # the service advises it, and nobody said otherwise
        (seen(0, 5, 10, every=timedelta(minutes=5)), timedelta(minutes=5)),
        (seen(0, every=timedelta(hours=6)).after(at(1)), timedelta(hours=6)),
        # One outage among scheduled polls is no period.
        (seen(0, 60, 120, 180, 5_000, 5_060), HOURLY),
    ],
)
def test_a_period_is_the_spacing_of_polls_without_the_ones_in_between(
    schedule: PollSchedule, wanted: timedelta
) -> None:
    assert schedule.period() == wanted


def test_starts_in_the_future_are_no_spacing() -> None:
    schedule = seen(0, 60, 500_000)
    assert schedule.period(at(120)) == HOURLY
    assert schedule.after(at(120)).period(at(180)) == HOURLY


def test_a_new_schedule_is_learnt_in_the_end_and_an_old_every_forgotten() -> None:
    schedule = seen(0, every=timedelta(days=1))
    for hour in range(1, 24 * 30):
        schedule = schedule.after(at(60 * hour))
    assert schedule.period() == HOURLY
    assert len(schedule.starts) <= 9


@given(
    st.lists(st.floats(0.1, 59), max_size=30),
    st.lists(st.sampled_from([60, 120, 180]), min_size=3, max_size=8),
    st.floats(0, 1),
)
def test_two_scheduled_windows_are_asked_for_whatever_is_polled_in_between(
    extra: list[float], gaps: list[int], where: float
) -> None:
    """Hourly polls, some left out, and any number of others after one of them."""
    scheduled = [0.0, 60.0]
    for gap in gaps:
        scheduled.append(scheduled[-1] + gap)
    after = scheduled[int(where * (len(scheduled) - 1))]
    starts = sorted({*scheduled, *(after + minutes for minutes in extra)})
    schedule, mark = PollSchedule(), Watermark()
    for number, start in enumerate(starts):
        since = mark.since(at(start), schedule.period(at(start)))
        if since is not None and start in scheduled:
            assert since <= at(start - 120)
        mark = mark.after_changes(at(start)) if number else mark.after_full(at(start))
        schedule = schedule.after(at(start))


def test_marks_in_the_future_are_not_believed() -> None:
    mark = Watermark((at(0), at(600)), at(600))
    assert mark.without_future(at(601)) == mark
    assert mark.without_future(at(60)) == Watermark((at(0),), None)
    assert mark.without_future(at(-60)) == Watermark()
    assert mark.is_full_due(at(60), timedelta(days=7))
    assert not mark.is_full_due(at(597), timedelta(days=7))
    assert mark.with_full_due() == Watermark((at(0), at(600)), None)
