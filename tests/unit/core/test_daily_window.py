"""Daily windows against the plain rule: by the minute, what a clock on the wall shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.daily_window import Window
from bulk_export.errors import UsageError

MINUTE = timedelta(minutes=1)
# Around both changes of clocks: London and New York; Lord Howe, by half an hour; Casablanca, for Ramadan.
PLACES = {
    "Europe/London": (datetime(2025, 3, 30, 1, tzinfo=UTC), datetime(2025, 10, 26, 1, tzinfo=UTC)),
    "America/New_York": (datetime(2025, 3, 9, 7, tzinfo=UTC), datetime(2025, 11, 2, 6, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2025, 4, 5, 15, tzinfo=UTC), datetime(2025, 10, 4, 15, 30, tzinfo=UTC)),
    "Africa/Casablanca": (datetime(2025, 2, 23, 2, tzinfo=UTC), datetime(2025, 4, 6, 2, tzinfo=UTC)),
}
minutes = st.integers(0, 24 * 60 - 1)
windows = st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1])
moments = st.sampled_from([(zone, at) for zone, both in PLACES.items() for at in both]).flatmap(
    lambda place: st.tuples(
        st.just(place[0]),
        st.integers(-36 * 60, 24 * 60).map(lambda minute: place[1] + minute * MINUTE),
    )
)


def text(start: int, end: int) -> str:
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def shown(instant: datetime, zone: str) -> int:
    local = instant.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


def by_the_rule(instant: datetime, zone: str, start: int, end: int) -> bool:
    """Walk the dial from `start` until `end`: is the minute shown among those passed?"""
    return (shown(instant, zone) - start) % 1440 < (end - start) % 1440


@settings(deadline=None, max_examples=200)
@given(window=windows, moment=moments)
def test_openings_equal_a_search_by_minute(window: tuple[int, int], moment: tuple[str, datetime]) -> None:
    """Openings and closings are those of a search minute by minute."""
    zone, instant = moment
    of = Window.of(text(*window), zone)
    is_open = by_the_rule(instant, zone, *window)
    assert of.open_at(instant) is is_open
    change = instant
    while by_the_rule(change, zone, *window) is is_open:
        change += MINUTE
    assert (of.closes_at(instant), of.next_opening(instant)) == ((change, instant) if is_open else (instant, change))


@settings(deadline=None, max_examples=60)
@given(window=windows, moment=moments, part=st.integers(1, 59_999_999))
def test_within_a_minute_nothing_changes(window: tuple[int, int], moment: tuple[str, datetime], part: int) -> None:
    """A window opens and closes on whole minutes only."""
    zone, minute = moment
    instant = minute + timedelta(microseconds=part)
    of = Window.of(text(*window), zone)
    assert of.open_at(instant) is of.open_at(minute)
    if of.open_at(minute):
        assert of.closes_at(instant) == of.closes_at(minute)
    else:
        assert of.next_opening(instant) == of.next_opening(minute)


def test_a_window_across_midnight_is_one_window() -> None:
    window = Window.of("22:00-04:00", "Europe/London")
    evening = datetime(2025, 1, 1, 23, tzinfo=UTC)
    assert window.open_at(evening)
    assert window.closes_at(evening) == datetime(2025, 1, 2, 4, tzinfo=UTC)
    assert window.next_opening(datetime(2025, 1, 2, 4, tzinfo=UTC)) == datetime(2025, 1, 2, 22, tzinfo=UTC)


def test_window_within_skipped_hour() -> None:
    """A window within the hour that is skipped in spring does not come that day."""
    window = Window.of("01:15-01:45", "Europe/London")
    assert window.next_opening(datetime(2025, 3, 30, 0, 30, tzinfo=UTC)) == datetime(2025, 3, 31, 0, 15, tzinfo=UTC)


def test_window_beginning_in_skipped_hour() -> None:
    """A window that begins in the skipped hour opens when the clocks change."""
    window = Window.of("01:30-05:00", "Europe/London")
    assert window.next_opening(datetime(2025, 3, 30, 0, 30, tzinfo=UTC)) == datetime(2025, 3, 30, 1, tzinfo=UTC)


def test_window_within_repeated_hour() -> None:
    """A window within the hour that comes twice in autumn opens twice."""
    window = Window.of("01:15-01:45", "Europe/London")
    first = window.next_opening(datetime(2025, 10, 25, 12, tzinfo=UTC))
    second = window.next_opening(window.closes_at(first))
    assert (first, second) == (
        datetime(2025, 10, 26, 0, 15, tzinfo=UTC),
        datetime(2025, 10, 26, 1, 15, tzinfo=UTC),
    )


def test_until_midnight_may_be_written_as_24() -> None:
    window = Window.of("22:30-24:00", "UTC")
    assert window.closes_at(datetime(2025, 1, 1, 23, tzinfo=UTC)) == datetime(2025, 1, 2, tzinfo=UTC)
    assert str(window) == "22:30-00:00 UTC"


@pytest.mark.parametrize(
    ("between", "timezone"),
    [
        ("", "UTC"),
        ("1-5", "UTC"),
        ("01:00", "UTC"),
        ("01:60-02:00", "UTC"),
        ("25:00-02:00", "UTC"),
        ("24:00-02:00", "UTC"),
        ("00:00-24:00", "UTC"),
        ("03:00-03:00", "UTC"),
        ("\u0660\u0661:00-02:00", "UTC"),
        ("01:00-05:00", "Europe/Londres"),
        ("01:00-05:00", ""),
        ("01:00-05:00", "../etc/passwd"),
        ("01:00-05:00", "Europe"),
        ("01:00-05:00", "a\0b"),
    ],
)
def test_invalid_window_is_refused(between: str, timezone: str) -> None:
    """An invalid window is refused with advice."""
    with pytest.raises(UsageError) as refused:
        Window.of(between, timezone)
    assert refused.value.next_step
