"""Real requests over real time under small limits: the service never refuses, by either way of counting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Limit
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, options, settings
from tests.support.sliding_log import most_in_any_window


@pytest.mark.slow
@pytest.mark.parametrize("windows", ["fixed", "rolling"])
async def test_limits_hold_from_several_addresses(tmp_path: Path, windows: Any) -> None:
    """Neither limit is ever exceeded from several addresses."""
    limits = {"service_limit": Limit(20, 1.0), "ip_limit": Limit(5, 1.0)}
    faulty = settings(**limits, windows=windows, latency=0.03, latency_spread=0.9, error_rate=0.05)
    async with serving(faulty) as service:
        summary = await export(
            options(
                service,
                tmp_path / "out",
                "npq-applications",
                page_size=30,
                source_address=[f"127.0.0.{number}" for number in range(1, 5)],
                **limits,
            ),
            tuning=QUICK,
        )
        log = list(service.log)
        assert service.statuses.get(429) is None
    assert summary.throttled == 0
    assert summary.requests == len(log) > 75
    assert most_in_any_window([record.at for record in log], 1.0) <= 20
    for peer in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"):
        sent = [record.at for record in log if record.peer == peer]
        assert 0 < most_in_any_window(sent, 1.0) <= 5


@pytest.mark.slow
async def test_a_share_leaves_the_rest_to_others(tmp_path: Path) -> None:
    async with serving(settings()) as service:
        chosen = options(
            service,
            tmp_path / "out",
            "participants-npq",
            page_size=50,
            service_limit="20/500ms",
            share="50%",
        )
        await export(chosen)
        sent = [record.at for record in service.log]
    assert len(sent) >= 19
    assert most_in_any_window(sent, 0.5) <= 10


@pytest.mark.slow
async def test_requests_of_others_cost_a_pause(tmp_path: Path) -> None:
    """Requests of somebody else cost a pause, and no page.

    The service allows less than we know of, as when a stranger shares the token.
    """
    async with serving(settings(service_limit=Limit(15, 1.0))) as service:
        chosen = options(service, tmp_path / "out", "npq-applications", page_size=50, service_limit="1000/1s")
        summary = await export(chosen, tuning=QUICK)
    (endpoint,) = summary.endpoints
    assert endpoint.records == 2_345
    assert summary.throttled > 0
    assert summary.retries == 0
