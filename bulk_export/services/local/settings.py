"""How the bundled service is to behave."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bulk_export.core.model import Limit, Service

BUNDLED_RECORDS = 2_000

ChurnKind = Literal["append", "touch", "vanish"]


@dataclass(frozen=True, slots=True)
class LocalServiceSettings:
    """What the service holds, whom it lets in, and what goes wrong.

    `other_tokens` are let in like `token`, and show the same records. The limits are those of a token, and of an
    address for all tokens together.
    `records` is the number in each endpoint, `records_by_endpoint` overrides it. `largest_page` is the most records
    shown at once, where that is not what the description says. A limit of None is no limit; windows are `fixed`
    (aligned to the epoch, as the service counts) or `rolling` (as documented). `latency` is in seconds, give or
    take the fraction `latency_spread`. Rates are chances from 0 to 1 per request: an error 5xx, a connection reset,
    a body cut short, a body that is not JSON, and a change of the data before the answer.
    """

    service: Service
    token: str
    records: int = BUNDLED_RECORDS
    records_by_endpoint: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
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
        """How many records an endpoint starts with."""
        return self.records_by_endpoint.get(endpoint, self.records)
