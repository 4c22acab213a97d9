"""Who may take the next permit."""

from __future__ import annotations

import pytest

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.fairness import longest_poll, next_source
from bulk_export.extract.rate_limit.interface import Limits


def limits_of(service: int, address: int, *sources: str) -> Limits:
    return Limits(Limit(service, 60), Limit(address, 60), sources, 10.0)


def test_least_used_address_is_next() -> None:
    assert (
        next_source(limits_of(9, 3, "a", "b", "c"), effective_limit=9, used=4, used_by_route={"a": 2, "b": 1, "c": 1})
        == 1
    )


def test_full_windows_admit_nothing() -> None:
    """Nothing goes out if all addresses or the common window are full."""
    assert next_source(limits_of(9, 2, "a", "b"), effective_limit=9, used=4, used_by_route={"a": 2, "b": 2}) is None
    assert next_source(limits_of(9, 9, "a", "b"), effective_limit=4, used=4, used_by_route={"a": 2, "b": 2}) is None


@pytest.mark.parametrize(("waiting", "index"), [(0, 0), (1, 0), (2, None)])
def test_longer_waiters_come_first(waiting: int, index: int | None) -> None:
    """Permits that longer waiters could take are left to them."""
    ahead = [limits_of(9, 9, "a")] * waiting
    assert next_source(limits_of(9, 9, "a"), effective_limit=9, used=7, used_by_route={"a": 7}, ahead=ahead) == index


def test_blocked_waiter_holds_nobody_up() -> None:
    """A longer waiter with a lower limit or a full address holds nobody up."""
    lower, elsewhere = limits_of(5, 9, "a"), limits_of(9, 2, "x")
    used_from = {"a": 6, "x": 2}
    assert (
        next_source(limits_of(9, 9, "a"), effective_limit=9, used=8, used_by_route=used_from, ahead=[lower, elsewhere])
        == 0
    )


def test_address_is_left_to_earlier_waiter() -> None:
    """The address that a longer waiter needs is left to it; another one may be used."""
    used_from = {"a": 1, "b": 1}
    assert (
        next_source(
            limits_of(9, 2, "a", "b"), effective_limit=9, used=2, used_by_route=used_from, ahead=[limits_of(9, 2, "a")]
        )
        == 1
    )
    assert (
        next_source(
            limits_of(9, 2, "a"), effective_limit=9, used=2, used_by_route=used_from, ahead=[limits_of(9, 2, "a")]
        )
        is None
    )


def test_waiters_poll_several_times_a_period() -> None:
    """Waiting processes ask again every second, or eight times in a short period."""
    assert longest_poll(limits_of(1, 1, "a")) == 1.0
    assert longest_poll(Limits(Limit(1, 60), Limit(1, 0.8), ("a",), 1.0)) == pytest.approx(0.1)
