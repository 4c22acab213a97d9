"""Limits, durations, shares and times: what is read, and what is refused with an example."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.core.units import (
    format_instant,
    in_utc,
    parse_duration,
    parse_instant,
    parse_limit,
    parse_share,
    seconds_of,
)
from bulk_export.errors import UsageError

# Far enough from the first and the last year for any offset.
INSTANTS = st.datetimes().filter(lambda moment: 1 < moment.year < 9999)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300), ("300s", 300), ("5m", 300), ("500ms", 0.5), ("1.5h", 5400), ("7d", 604_800), (" 0 ", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is a number with or without a unit; without one it is in seconds."""
    assert parse_duration(text) == seconds


def test_durations_of_python() -> None:
    """A number is seconds, and a timedelta what it says."""
    assert seconds_of(timedelta(minutes=5), "a time") == seconds_of("5m", "a time") == seconds_of(300, "a time") == 300


@pytest.mark.parametrize("text", ["", "soon", "-1", "5 m", "5M", "1e3", "٣", ".5", "1h30m", "9" * 400])
def test_invalid_duration_is_refused(text: str) -> None:
    """A text that is no duration is refused, with an example."""
    with pytest.raises(UsageError) as refused:
        parse_duration(text)
    assert all(example in refused.value.next_step for example in ("500ms", "5m", "1h", "7d"))


@settings(deadline=None)
@given(st.integers(1, 999_999_999), st.integers(1, 999_999_999), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_limit_is_a_number_per_period(requests: int, amount: int, unit: str) -> None:
    assert parse_limit(f"{requests}/{amount}{unit}") == Limit(requests, parse_duration(f"{amount}{unit}"))


@pytest.mark.parametrize(
    "text", ["0/5m", "5/0", "5/0ms", "5", "5/", "/5", "5/5/5", "-5/5m", "5.5/5m", f"{'9' * 5000}/1"]
)
def test_invalid_limit_is_refused(text: str) -> None:
    """A limit that lets nothing through, or is no limit, is refused."""
    with pytest.raises(UsageError) as refused:
        parse_limit(text)
    assert "N/PERIOD" in refused.value.next_step


@pytest.mark.parametrize(
    ("text", "share"), [("50%", 0.5), ("50", 0.5), ("100 %", 1), ("0.5%", 0.005), ("33.3%", 0.333)]
)
def test_shares(text: str, share: float) -> None:
    """A share is a percentage, with or without the sign."""
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0", "0%", "100.1%", "half", "-1%", "", "0.5", "nan", "50%%"])
def test_invalid_share_is_refused(text: str) -> None:
    """A share that is none, or may mean two things, is refused."""
    with pytest.raises(UsageError) as refused:
        parse_share(text)
    assert "50%" in refused.value.next_step


@settings(deadline=None)
@given(INSTANTS, OFFSETS)
def test_time_with_offset_is_converted(moment: datetime, offset: timezone) -> None:
    """A time with any offset is the same moment in UTC, and never contains a plus."""
    given_time = moment.replace(tzinfo=offset)
    sent = format_instant(parse_instant(given_time.isoformat()))
    assert sent.endswith("Z")
    assert "+" not in sent
    assert datetime.fromisoformat(sent) == given_time


def test_time_without_offset_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without an offset is in UTC, wherever this machine is."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert parse_instant("2025-09-01T10:00:00") == datetime(2025, 9, 1, 10, tzinfo=UTC)
    assert in_utc(datetime.fromisoformat("2025-09-01T10:00:00")) == datetime(2025, 9, 1, 10, tzinfo=UTC)
    assert parse_instant("2025-09-01") == in_utc(date(2025, 9, 1)) == datetime(2025, 9, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday-ish", "", "12:00", "2025-13-01", "2025-02-30", "1756684800"])
def test_a_time_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_instant(text)
    assert "ISO 8601" in refused.value.next_step


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_time_out_of_range_in_utc_is_refused(text: str) -> None:
    """A time that is out of range in UTC is refused."""
    with pytest.raises(UsageError, match="out of range"):
        parse_instant(text)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Any text is parsed, or refused with a UsageError."""
    for parse in (parse_duration, parse_limit, parse_share, parse_instant):
        with contextlib.suppress(UsageError):
            parse(text)
