"""The cost for several tenants: their requests, and when each is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.plan import PlanOptions, plan_costs
from bulk_export.pipelines.tenants_file import Tenant
from bulk_export.pipelines.tenants_plan import plan_tenants

URL = "https://service.example"


def test_tenants_of_one_service_share_the_address() -> None:
    """Two cost twice the requests, and the second is done last; two services have limits of their own."""
    options = {"base_url": URL, "records": ["npq-applications=150000"]}
    (alone,) = plan_costs(PlanOptions.of(["npq-applications"], **options)).values()  # type: ignore[arg-type]
    (both,) = plan_tenants([Tenant("a"), Tenant("b")], ["npq-applications"], options).values()
    assert both.requests == 2 * alone.total
    assert both.tenants["a"].seconds == pytest.approx(alone.seconds)
    assert both.seconds == both.tenants["b"].seconds > 2 * alone.seconds
    elsewhere = Tenant("b", base_url="https://other.example")
    (apart,) = plan_tenants([Tenant("a"), elsewhere], ["npq-applications"], options).values()
    assert apart.seconds == pytest.approx(alone.seconds)


def test_sync_of_tenants() -> None:
    """A full sync and a poll, each for all."""
    options = {"base_url": URL, "records": ["3000"], "changed": ["10"], "sync": True}
    costs = plan_tenants([Tenant("a"), Tenant("b")], ["statements"], options)
    assert list(costs) == ["full sync", "a poll"]


def test_unknown_numbers_and_errors_name_the_tenant(tmp_path: Path) -> None:
    """A tenant without an earlier export counts as empty, and is named; so is one whose export is damaged."""
    options = {"base_url": URL, "like": tmp_path}
    (cost,) = plan_tenants([Tenant("a")], ["statements"], options).values()
    assert cost.unknown == {"a": ["statements"]}
    with pytest.raises(UsageError, match="Tenant a: "):
        plan_tenants([Tenant("a")], ["nothing"], options)
    with pytest.raises(UsageError, match="too many to simulate"):
        plan_tenants([Tenant("a"), Tenant("b")], ["statements"], {"base_url": URL, "records": ["50000000"]})
