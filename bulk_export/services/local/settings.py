"""Settings of the local service."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from bulk_export.core.model import Limit, Service

BUNDLED_RECORDS = 2_000
# More than a first look takes, so that the tied records of an export come in several orders until it reads them again.
BUNDLED_SETTLES_AFTER = 16

ChurnKind = Literal["append", "touch", "vanish"]


@dataclass(frozen=True, slots=True)
class LocalServiceSettings:
    """The records of a local service, its limits, and the faults that it simulates.

    Rates are probabilities from 0 to 1 per request.

    Attributes:
        service: The description of the service.
        token: The token that it accepts.
        records: The number of records of each endpoint.
        records_by_endpoint: Overrides `records` by endpoint name.
        seed: Decides the records and the faults.
        newest: When the newest record was created, the oldest being of September 2021, in seconds since the epoch;
            None for records that were all created within an hour then.
        settles_after: The number of requests of an endpoint after which tied records come in one order; None for never.
        largest_page: The largest page; as described if None.
        service_limit: The limit for each token; none if None.
        ip_limit: The limit for each address, for all tokens together; none if None.
        windows: `fixed` windows are aligned to the epoch, as in the real service; `rolling` ones are documented.
        retry_after: Whether a 429 has a Retry-After header.
        latency: Seconds before each response.
        latency_spread: The largest deviation from `latency`, as a fraction of it.
        gzip: Whether responses are compressed for clients that accept it.
        error_rate: Responses with a status of 500, 502 or 503.
        reset_rate: Connections reset instead of a response.
        truncate_rate: Bodies cut short.
        garbage_rate: Bodies of HTML instead of JSON.
        churn: Changes of the data before a response.
        churn_kinds: The kinds of these changes.
        clock: Returns the time in seconds since the epoch.
        other_tokens: Further tokens that it accepts, with the same records.
    """

    service: Service
    token: str
    records: int = BUNDLED_RECORDS
    records_by_endpoint: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    newest: float | None = None
    settles_after: int | None = None
    largest_page: int | None = None
    service_limit: Limit | None = None
    ip_limit: Limit | None = None
    windows: Literal["fixed", "rolling"] = "fixed"
    retry_after: bool = False
    latency: float = 0.0
    latency_spread: float = 0.0
    gzip: bool = False
    error_rate: float = 0.0
    reset_rate: float = 0.0
    truncate_rate: float = 0.0
    garbage_rate: float = 0.0
    churn: float = 0.0
    churn_kinds: tuple[ChurnKind, ...] = ("append", "touch", "vanish")
    clock: Callable[[], float] = time.time
    other_tokens: tuple[str, ...] = ()

    def count(self, endpoint: str) -> int:
        """Return the number of records that an endpoint starts with."""
        return self.records_by_endpoint.get(endpoint, self.records)


def start_of_month(now: float) -> float:
    """Return when the month of a time began, in seconds since the epoch: data up to then are the same all month."""
    return datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
