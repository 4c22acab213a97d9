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


def test_hourly_polls_ask_two_hours_back() -> None:
    """The example of the documentation: a poll at 15:15 asks from 13:15."""
    mark = Watermark().after_full(at(-45)).after_changes(at(15)).after_changes(at(75)).after_changes(at(135))
    assert mark.polls == (at(75), at(135))
    assert mark.since(at(195)) == at(75)


def test_without_two_polls() -> None:
    """Without a poll, everything is asked for; after one, changes from as long before it as it is ago."""
    assert Watermark().since(NOON) is None
    assert Watermark().after_full(at(0)).since(at(60)) == at(-60)
    assert Watermark().after_full(at(0)).since(at(-5)) == at(0)
    assert Watermark((datetime(2001, 1, 1, tzinfo=UTC),)).since(datetime(9999, 1, 1, tzinfo=UTC)).year == 2000  # type: ignore[union-attr]


def test_parts_of_a_second_are_cut_off() -> None:
    """The service shows whole seconds."""
    mark = Watermark((NOON.replace(microsecond=999_999), at(60)))
    assert mark.since(at(120)) == NOON


def test_when_a_full_sync_is_due() -> None:
    """It is due at first, and an interval after the start of the last one."""
    week = timedelta(days=7)
    assert Watermark().is_full_due(NOON, week)
    done = Watermark().after_full(NOON)
    assert not done.is_full_due(NOON + week - timedelta(seconds=1), week)
    assert done.is_full_due(NOON + week, week)


def test_an_older_poll_advances_nothing() -> None:
    """A poll that seems to have started before the last one moves nothing forward."""
    mark = Watermark((at(0), at(60)), at(0))
    assert mark.after_changes(at(30)).polls == (at(30), at(60))


def test_after_a_resumed_poll() -> None:
    """The next poll asks from as long before the start of the resumed one as the gap before that was, at least."""
    mark = Watermark((at(0), at(600)), at(0))
    assert mark.after_changes(at(630)).since(at(660)) == at(600)
    assert mark.after_changes(at(630), resumed=True).since(at(660)) == at(30)
    assert mark.after_full(at(630), resumed=True).since(at(660)) == at(30)
    assert mark.after_changes(at(1800), resumed=True).since(at(1830)) == at(600)
    assert Watermark((at(0),), at(0)).after_changes(at(10), resumed=True).polls == (at(0), at(10))


def test_after_an_overtaken_full_sync() -> None:
    """If other polls started while it was interrupted, the next one asks from before its start."""
    mark = Watermark((at(600), at(660)), at(-10_000)).after_full(at(0))
    assert mark.since(at(720)) == at(-60)
    after = mark.after_changes(at(720))
    assert (after.since(at(780)), after.full) == (at(660), at(0))


@given(
    st.lists(st.integers(1, 200), min_size=3, max_size=12),
    st.integers(0, 3_000),
    st.floats(0, 1),
)
def test_late_changes_are_asked_for(gaps: list[int], when: int, lateness: float) -> None:
    """Whatever the polls are apart: the gap is the one between the two polls before."""
    starts = [at(0)]
    for gap in gaps:
        starts.append(starts[-1] + timedelta(minutes=gap))
    mark = Watermark().after_full(starts[0])
    committed = at(when % sum(gaps))
    for before, start in itertools.pairwise(starts):
        since = mark.since(start)
        if before < committed <= start:
            gap = mark.polls[-1] - mark.polls[0] if len(mark.polls) > 1 else start - before
            assert since is not None
            assert since <= committed - gap * lateness
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
        # One outage among scheduled polls is no interval.
        (seen(0, 60, 120, 180, 5_000, 5_060), HOURLY),
    ],
)
def test_the_interval_of_a_schedule(schedule: PollSchedule, wanted: timedelta) -> None:
    """It is the spacing of scheduled polls, without the polls in between and without a single outage."""
    assert schedule.interval() == wanted


def test_starts_in_the_future_are_ignored() -> None:
    schedule = seen(0, 60, 500_000)
    assert schedule.interval(at(120)) == HOURLY
    assert schedule.after(at(120)).interval(at(180)) == HOURLY


def test_a_new_schedule_replaces_every() -> None:
    """An interval from --every is forgotten after enough polls without it."""
    schedule = seen(0, every=timedelta(days=1))
    for hour in range(1, 24 * 30):
        schedule = schedule.after(at(60 * hour))
    assert schedule.interval() == HOURLY
    assert len(schedule.starts) <= 9


@given(
    st.lists(st.floats(0.1, 59), max_size=30),
    st.lists(st.sampled_from([60, 120, 180]), min_size=3, max_size=8),
    st.floats(0, 1),
)
def test_extra_polls_do_not_shorten_two_intervals(extra: list[float], gaps: list[int], where: float) -> None:
    """Hourly polls, some left out, and any number of others after one of them."""
    scheduled = [0.0, 60.0]
    for gap in gaps:
        scheduled.append(scheduled[-1] + gap)
    after = scheduled[int(where * (len(scheduled) - 1))]
    starts = sorted({*scheduled, *(after + minutes for minutes in extra)})
    schedule, mark = PollSchedule(), Watermark()
    for number, start in enumerate(starts):
        since = mark.since(at(start), schedule.interval(at(start)))
        if since is not None and start in scheduled:
            assert since <= at(start - 120)
        mark = mark.after_changes(at(start)) if number else mark.after_full(at(start))
        schedule = schedule.after(at(start))


def test_watermarks_in_the_future_are_dropped() -> None:
    mark = Watermark((at(0), at(600)), at(600))
    assert mark.without_future(at(601)) == mark
    assert mark.without_future(at(60)) == Watermark((at(0),), None)
    assert mark.without_future(at(-60)) == Watermark()
    assert mark.is_full_due(at(60), timedelta(days=7))
    assert not mark.is_full_due(at(597), timedelta(days=7))
    assert mark.with_full_due() == Watermark((at(0), at(600)), None)
