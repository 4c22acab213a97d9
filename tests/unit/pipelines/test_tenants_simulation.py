"""When several tenants would be done on virtual time: never before the bound, and near it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.pipelines.simulation import schedule
from bulk_export.pipelines.tenants_simulation import least_seconds, schedule_tenants
from tests.support.limiters_in_order import in_order
from tests.support.planned_requests import limit_values

SERVICE, ADDRESS = Limit(1000, 300), Limit(300, 300)


@settings(deadline=None, max_examples=60)
@given(
    requests=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    service=limit_values,
    address=limit_values,
    addresses=st.integers(1, 4),
    min_interval=st.sampled_from([0.0, 0.1, 2.0]),
    in_turn=st.booleans(),
)
def test_no_order_beats_the_bound(
    requests: list[int], service: Limit, address: Limit, addresses: int, min_interval: float, in_turn: bool
) -> None:
    """Neither order is done before the bound, whatever the limits."""
    found = schedule_tenants(
        requests,
        service_limit=service,
        address_limit=address,
        addresses=addresses,
        min_interval=min_interval,
        in_turn=in_turn,
    )
    least = least_seconds(
        requests, service_limit=service, address_limit=address, addresses=addresses, min_interval=min_interval
    )
    assert max(one.finished for one in found) >= least - 1e-6
    assert all(one.began <= one.finished for one in found)


def test_one_tenant_is_one_export() -> None:
    """A single tenant takes as long as an export of its own."""
    (found,) = schedule_tenants(
        [1500], service_limit=SERVICE, address_limit=ADDRESS, addresses=4, min_interval=0.1, latency=0.5
    )
    alone = schedule(1500, service_limit=SERVICE, address_limit=ADDRESS, addresses=4, min_interval=0.1, latency=0.5)
    assert found.finished == pytest.approx(alone.finished)


def test_in_order_ends_most_early_and_none_later() -> None:
    """Under one address, the order of the file ends when taking turns ends, with most tenants done long before."""
    limits = {"service_limit": SERVICE, "address_limit": ADDRESS, "min_interval": 0.1, "latency": 0.5}
    in_order, in_turn = (
        [one.finished for one in schedule_tenants([300] * 5, in_turn=in_turn, **limits)]  # type: ignore[arg-type]
        for in_turn in (False, True)
    )
    assert max(in_order) == pytest.approx(max(in_turn), rel=0.01)
    assert sum(in_order) / 5 < 0.6 * sum(in_turn) / 5


@pytest.mark.parametrize("addresses", [1, 2, 4, 8])
def test_limiters_do_as_simulated(addresses: int) -> None:
    """The limiters of an export finish each tenant when the simulation says."""
    service, address = Limit(100, 30), Limit(30, 30)
    run = in_order([120, 40, 250, 60], service, address, addresses, latency=0.5, min_interval=0.1)
    found = schedule_tenants(
        [120, 40, 250, 60],
        service_limit=service,
        address_limit=address,
        addresses=addresses,
        latency=0.5,
        min_interval=0.1,
    )
    assert [run.finished(number) for number in range(4)] == pytest.approx([one.finished for one in found], abs=1.0)
