"""The cost of an export or a sync of several tenants, on virtual time. Nothing is sent, and no token is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.errors import UsageError
from bulk_export.extract.rate_limit.key import service_origin
from bulk_export.output.file_names import MANIFEST
from bulk_export.pipelines.plan import PlanOptions, plan_loads
from bulk_export.pipelines.request_counts import EndpointLoad
from bulk_export.pipelines.tenants_file import Tenant
from bulk_export.pipelines.tenants_simulation import schedule_tenants

_MOST_REQUESTS = 300_000


@dataclass(frozen=True, slots=True)
class TenantCost:
    """The cost for one tenant.

    Attributes:
        requests: The number of requests, without the search for the ends of lists.
        search: How many more requests that search may take, at most.
        began: When its first request is sent, in seconds from the start.
        seconds: When its last response arrives, in seconds from the start.
    """

    requests: int
    search: int
    began: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TenantsCost:
    """The cost for all tenants.

    Attributes:
        tenants: That of each, in the order of the file.
        unknown: The endpoints of each whose number of records is not known, counted as empty; without those of whom
            all are known.
    """

    tenants: Mapping[str, TenantCost]
    unknown: Mapping[str, Sequence[str]]

    @property
    def requests(self) -> int:
        """All requests, without the search for the ends."""
        return sum(one.requests for one in self.tenants.values())

    @property
    def seconds(self) -> float:
        """When the last tenant is done."""
        return max(one.seconds for one in self.tenants.values())


@dataclass(frozen=True, slots=True)
class TenantsPlan:
    """What an export, or a sync, of several tenants would cost.

    Attributes:
        cost: The cost of the exports, or with `sync` of fetching everything once.
        poll: With `sync`, the cost of a poll for changes of each.
    """

    cost: TenantsCost
    poll: TenantsCost | None


def plan_tenants(
    tenants: Sequence[Tenant], endpoints: Sequence[str], options: Mapping[str, Any]
) -> dict[str, TenantsCost]:
    """Estimate the cost for several tenants, under the titles of `plan_costs`.

    Args:
        tenants: The tenants. Those of one service share the limits of the addresses.
        endpoints: Names of endpoints.
        options: The options of `bulk-export plan`, for all tenants. In the directory of `like`, those that have one of
            their own take their numbers of records from it.

    Raises:
        UsageError: An option cannot be used as given, or there would be too many requests to simulate.
    """
    plans: dict[str, PlanOptions] = {}
    services: dict[str, list[str]] = {}
    for tenant in tenants:
        own = dict(options)
        if own.get("like") is not None:
            earlier = Path(own["like"]) / tenant.name
            own["like"] = earlier if os.path.lexists(earlier / MANIFEST) else None
        if tenant.base_url is not None or tenant.environment is not None:
            own["base_url"], own["environment"] = tenant.base_url, tenant.environment
        try:
            plans[tenant.name] = PlanOptions.of(endpoints, **own)
        except UsageError as error:
            raise UsageError(f"Tenant {tenant.name}: {error.what}", next_step=error.next_step) from None
        address = own.get("base_url")
        services.setdefault(service_origin(address) if address else own.get("environment") or "", []).append(
            tenant.name
        )
    loads = {name: plan_loads(plan) for name, plan in plans.items()}
    titles = list(next(iter(loads.values())))
    unknown = {name: plan.unknown for name, plan in plans.items() if plan.unknown}
    costs = {}
    for title in titles:
        found: dict[str, TenantCost] = {}
        for names in services.values():
            found |= _costs(names, plans, {name: loads[name][title] for name in names})
        costs[title] = TenantsCost({name: found[name] for name in plans}, unknown)
    return costs


def _costs(
    names: Sequence[str], plans: Mapping[str, PlanOptions], loads: Mapping[str, Mapping[str, EndpointLoad]]
) -> dict[str, TenantCost]:
    """Return the costs of the tenants of one service."""
    counts = [sum(load.requests for load in loads[name].values()) for name in names]
    if sum(counts) > _MOST_REQUESTS:
        raise UsageError(
            f"That would take more than {_MOST_REQUESTS:,} requests, which is too many to simulate.",
            next_step="Choose a larger --page-size, up to 3000, or fewer endpoints.",
        )
    some = plans[names[0]]
    schedules = schedule_tenants(
        counts,
        service_limit=some.export.service_limit.scaled(some.export.share),
        address_limit=some.export.ip_limit.scaled(some.export.share),
        addresses=len(some.export.sources),
        min_interval=some.export.min_interval,
        latency=some.latency,
        workers=some.export.workers,
    )
    return {
        name: TenantCost(count, sum(load.search for load in loads[name].values()), found.began, found.finished)
        for name, count, found in zip(names, counts, schedules, strict=True)
    }
