"""What an export would cost under the limits, on virtual time: nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bulk_export.core.model import Limit
from bulk_export.pipelines.request_counts import EndpointLoad
from bulk_export.pipelines.simulation import schedule


@dataclass(frozen=True, slots=True)
class WindowCost:
    """The use of one limit: `filled_at` is when it is first reached, in seconds from the start, None if it never is."""

    name: str
    limit: Limit
    requests: int
    filled_at: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a run.

    Attributes:
        requests: The number of requests for each endpoint.
        search: How many more requests finding the ends of the lists may take, at most.
        seconds: How long all requests take.
        windows: The use of each limit.
    """

    requests: Mapping[str, int]
    search: int
    seconds: float
    windows: tuple[WindowCost, ...]

    @property
    def total(self) -> int:
        """All requests, without the search for the ends."""
        return sum(self.requests.values())


def estimate(
    loads: Mapping[str, EndpointLoad],
    *,
    service_limit: Limit,
    ip_limit: Limit,
    sources: int,
    min_interval: float,
    latency: float,
    workers: int,
) -> Cost:
    """Simulate the requests for `loads`, by endpoint.

    Args:
        loads: The records to fetch.
        service_limit: The limit on the whole service.
        ip_limit: The limit on each source address.
        sources: The number of source addresses.
        min_interval: The least time between two requests, in seconds.
        latency: The time from a request to its response, in seconds.
        workers: The largest number of requests in flight.
    """
    requests = {name: load.requests for name, load in loads.items()}
    simulated = schedule(
        sum(requests.values()),
        service_limit=service_limit,
        address_limit=ip_limit,
        addresses=sources,
        min_interval=min_interval,
        latency=latency,
        workers=workers,
    )
    return Cost(
        requests=requests,
        search=sum(load.search for load in loads.values()),
        seconds=simulated.finished,
        windows=tuple(
            WindowCost(
                "service" if window.address is None else f"address {window.address}",
                window.limit,
                window.requests,
                window.filled_at,
            )
            for window in simulated.windows
        ),
    )
