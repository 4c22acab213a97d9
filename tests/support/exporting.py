"""Shared by tests of whole exports: a service without limits, and options without waits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bulk_export.extract.client import Timeouts
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import LocalService, LocalServiceSettings

TOKEN = "test-token"
NPQ = load_service("npq")
COUNTS = {
    "npq-applications": 2_345,
    "participants-npq": 900,
    "participants-npq-outcomes": 300,
    "participant-declarations": 1_201,
    "statements": 37,
    "delivery-partners": 0,
}
# At most seven records on a page, so that small sweeps have edges, too.
SEVEN_PER_PAGE = replace(
    NPQ,
    largest_page_size=7,
    endpoints=tuple(replace(endpoint, paging=replace(endpoint.paging, largest=7)) for endpoint in NPQ),
)
# Limits that nobody meets, and no memory of earlier tests.
FREE: dict[str, Any] = {
    "budget": "memory://",
    "service_limit": "100000/1s",
    "ip_limit": "100000/1s",
    "min_interval": 0,
}
QUICK = Tuning(shortest_backoff=0.001, longest_backoff=0.01, timeouts=Timeouts(settling=0))


def settings(**changes: Any) -> LocalServiceSettings:
    """Settings of a bundled service of NPQ without limits."""
    return LocalServiceSettings(
        **{"service": NPQ, "records_by_endpoint": COUNTS, "token": TOKEN, "service_limit": None, "ip_limit": None}
        | changes
    )


def options(service: LocalService, output: Path, /, *endpoints: str, **changes: Any) -> ExportOptions:
    """Options of an export of a bundled service that wait for no limit."""
    return ExportOptions.of(
        endpoints,
        **{
            "service": NPQ,
            "base_url": service.base_url,
            "token": TOKEN,
            "output": output,
            "retries": 11,
            **FREE,
        }
        | changes,
    )
