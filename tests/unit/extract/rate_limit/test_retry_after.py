"""How long to hold after a 429."""

from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_export.extract.rate_limit.retry_after import ServiceClock, read_429

DATE = "Mon, 23 Nov 2026 10:00:30 GMT"


def pause(
    *,
    retry_after: str | None = None,
    date: str | None = None,
    wall: float = 30.0,
    period: float = 300.0,
    consecutive_429s: int = 1,
    uniform: float = 0.0,
) -> float:
    parsed = read_429(retry_after=retry_after, date=date, wall=wall, period=period, uniform=uniform)
    return parsed.pause(consecutive_429s)


NOW = 1_795_773_630.0  # 27 November 2026, 10:00:30


def http_date(moment: float) -> str:
    return email.utils.formatdate(moment, usegmt=True)


def pauses(dates: list[str], *, retry_after: str | None = None, wall: float = NOW, apart: float = 1.0) -> list[float]:
    """The pauses after responses with 429, one after the other, each after the pause before it, or `apart` seconds."""
    clock, elapsed, paused = ServiceClock(), 0.0, []
    for consecutive_429s, date in enumerate(dates, start=1):
        trusted = clock.trusts(date, wall=wall + elapsed, elapsed=elapsed)
        parsed = read_429(
            retry_after=retry_after, date=date, wall=wall + elapsed, period=300.0, uniform=0.0, trusted=trusted
        )
        paused.append(parsed.pause(consecutive_429s))
        elapsed += max(apart, paused[-1])
    return paused


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("0", 0.2, 0.3),
        ("99999999", 300, 300),
        ("9" * 5000, 0.9, 1.1),
        ("Mon, 23 Nov 2026 10:01:10 GMT", 40, 40),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.2, 0.3),
        ("Mon, 23 Nov 9999 10:01:10 GMT", 300, 300),
        ("-5", 0.9, 1.1),
        ("soon", 0.9, 1.1),
        ("", 0.9, 1.1),
    ],
)
def test_retry_after_in_both_forms(retry_after: str, least: float, most: float) -> None:
    """Retry-After is followed in both its forms, within bounds; anything else leads to a backoff."""
    assert least <= pause(retry_after=retry_after, date=DATE) <= most


def test_date_without_service_clock() -> None:
    """A date in Retry-After is read by our clock if the service tells no time."""
    assert pause(retry_after="Thu, 01 Jan 1970 00:01:10 GMT", wall=30.0) == pytest.approx(40)


def test_window_boundary_if_sooner() -> None:
    """Without Retry-After, the next window by the service's clock ends the hold if it is sooner than the backoff."""
    assert pause(date="Mon, 23 Nov 2026 10:04:59 GMT", consecutive_429s=9) == pytest.approx(1.25)
    assert pause(date="Mon, 23 Nov 2026 10:00:30 GMT", consecutive_429s=1) == pytest.approx(1.0)


def test_backoff_doubles_with_jitter() -> None:
    """The backoff doubles up to a period, and has jitter."""
    assert [pause(consecutive_429s=number, uniform=1.0) for number in range(1, 10)] == [
        2,
        4,
        8,
        16,
        32,
        64,
        128,
        256,
        300,
    ]
    assert pause(consecutive_429s=3, uniform=0.0) == 4.0


def test_short_waits_are_raised() -> None:
    """A service that announces short waits but goes on throttling is given longer ones."""
    waits = [pause(retry_after="1", consecutive_429s=number, uniform=0.0) for number in range(1, 9)]
    assert waits[:2] == [1.0, 1.0]
    assert waits == sorted(waits)
    assert waits[-1] > 30


@given(
    retry_after=st.none() | st.text(max_size=40) | st.integers(-(10**12), 10**12).map(str),
    date=st.none() | st.text(max_size=40),
    wall=st.floats(0, 4e9),
    period=st.floats(1, 3600),
    consecutive_429s=st.integers(1, 200),
    uniform=st.floats(0, 1),
)
def test_wait_is_bounded(
    retry_after: str | None, date: str | None, wall: float, period: float, consecutive_429s: int, uniform: float
) -> None:
    """Whatever the headers hold, the wait is above zero and at most a period and a moment."""
    waited = pause(
        retry_after=retry_after, date=date, wall=wall, period=period, consecutive_429s=consecutive_429s, uniform=uniform
    )
    assert 0 < waited <= period + 0.25


@pytest.mark.parametrize("off", [-8000 * 365 * 86_400.0, -365 * 86_400.0, -3_600.0, 3_600.0, 365 * 86_400.0])
def test_distant_date_is_not_trusted(off: float) -> None:
    """A Date far from our clock does not say when the next window begins.

    It shows one second before an edge each time: believed, it would have a probe sent each second for ever.
    """
    lie = http_date(max(0.0, NOW - NOW % 300 + 299 + off))
    assert pauses([lie] * 7) == [1, 2, 4, 8, 16, 32, 64]


def test_stuck_date_is_not_trusted() -> None:
    """A Date that does not advance is not trusted for long."""
    start = NOW - NOW % 300
    assert pauses([http_date(start - 1)] * 7, wall=start) == [1, 1.25, 1.25, 8, 16, 32, 64]


def test_agreeing_date_gives_boundary() -> None:
    """A Date that agrees with our clock says when the next window begins."""
    edge = NOW - NOW % 300 + 300
    dates = [http_date(edge - 20 + elapsed) for elapsed in (0, 1, 3, 7, 15)]
    assert pauses(dates, wall=edge - 20.0) == [1, 2, 4, 8, 5.25]


@pytest.mark.parametrize(
    ("date", "wall", "least", "most"),
    [
        pytest.param(NOW + 3_600, NOW, 40, 40, id="Date ahead, Retry-After right"),
        pytest.param(NOW - 3_600, NOW, 40, 40, id="Date behind, Retry-After right"),
        pytest.param(NOW, NOW + 3_600, 40, 40, id="our clock ahead"),
        pytest.param(NOW, NOW - 3_600, 40, 40, id="our clock behind"),
        pytest.param(NOW - 120, NOW, 160, 160, id="both possible: the longer"),
        pytest.param(NOW + 90, NOW + 3_600, 1, 1, id="neither possible: a backoff"),
    ],
)
def test_date_is_read_by_plausible_clock(date: float, wall: float, least: float, most: float) -> None:
    """A date in Retry-After is read by the clock that makes it a possible wait."""
    paused = pauses([http_date(date)], retry_after=http_date(NOW + 40), wall=wall)
    assert least <= paused[0] <= most


def test_longer_waits_if_allowed() -> None:
    """An announced wait may be longer than a period if that is allowed; a backoff may not."""
    for longest, held in ((None, 300), (100.0, 300), (900.0, 700), (600.0, 600)):
        parsed = read_429(retry_after="700", date=None, wall=NOW, period=300.0, uniform=0.0, longest=longest)
        assert parsed.pause(1) == held
    unsaid = read_429(retry_after=None, date=None, wall=NOW, period=300.0, uniform=1.0, longest=900.0)
    assert unsaid.pause(30) == 300
