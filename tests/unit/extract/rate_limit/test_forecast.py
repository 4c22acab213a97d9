"""When requests count no more: our own are known, those of others are guessed."""

from __future__ import annotations

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.forecast import OwnRequests
from bulk_export.extract.rate_limit.interface import Limits, WindowUsage
from bulk_export.progress.time_left import WindowForecast

LIMITS = Limits(Limit(10, 100.0), Limit(4, 60.0), ("a", "b"), longest_request=30.0)


def forecast(
    own: OwnRequests, used: int, *, free_in: float = 0.0, seen_at: float = 0.0, now: float = 0.0
) -> tuple[WindowForecast, ...]:
    """The forecast of a window of the service with so many requests, half of them from each address."""
    windows = (WindowUsage(used, free_in), WindowUsage((used + 1) // 2, 0.0), WindowUsage(used // 2, 0.0))
    return own.forecast(windows, seen_at=seen_at, now=now, latency=2.0)


def test_own_requests() -> None:
    """Each counts for a period after its end; those in flight end soon. Addresses are one window together."""
    own = OwnRequests(LIMITS)
    for identity in range(3):
        own.granted(identity)
    own.ended(0, 5.0, sent=True)
    own.ended(1, 6.0, sent=False)
    own.ended(99, 7.0, sent=True)
    service, addresses = forecast(own, 2, seen_at=8.0, now=10.0)
    assert service == WindowForecast(10, 100.0, (95.0, 102.0))
    assert addresses == WindowForecast(8, 60.0, (55.0, 62.0))
    assert own.ended_within(60.0, 10.0) == 1


def test_usage_may_be_old() -> None:
    """While nothing is claimed, the usage seen last includes requests that count no more: they are nobody else's."""
    own = OwnRequests(LIMITS)
    own.granted(1)
    own.ended(1, 5.0, sent=True)
    service, addresses = forecast(own, 1, seen_at=10.0, now=110.0)
    assert service.free_in == ()
    assert addresses.free_in == ()


def test_requests_of_others() -> None:
    """They count for a period from when they were noticed, or from when a full window opens at the least interval."""
    own = OwnRequests(LIMITS, min_interval=0.5)
    assert forecast(own, 3)[0].free_in == (100.0,) * 3
    assert forecast(own, 3, seen_at=40.0, now=40.0)[0].free_in == (60.0,) * 3
    assert forecast(own, 10, free_in=30.0, seen_at=40.0, now=45.0)[0].free_in[:3] == (25.0, 25.5, 26.0)
    assert forecast(own, 10, free_in=54.0, seen_at=40.0, now=45.0)[0].free_in[-1] == 53.5
    assert forecast(own, 0, seen_at=50.0, now=50.0)[0].free_in == ()
    assert forecast(own, 2, seen_at=60.0, now=60.0)[0].free_in == (100.0,) * 2
