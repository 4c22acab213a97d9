"""What larger pages would save, on virtual time: told by `plan`, and at the end of an export that took long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bulk_export.core.text import counted
from bulk_export.pipelines.estimate import Cost, estimate
from bulk_export.pipelines.option_parsing import LARGEST_PAGE
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.request_counts import full_load
from bulk_export.progress.tally import clock_text

# Savings below these are not worth a line.
_LEAST_SECONDS = 10.0
_LEAST_FACTOR = 1.5
# More requests than this take too long to simulate for a remark.
_MOST_REQUESTS = 20_000
_LATENCY = 0.5


@dataclass(frozen=True, slots=True)
class PageSizeAdvice:
    """The largest page size of a service, and what an export costs with it and with the chosen one."""

    page_size: int
    larger: Cost
    chosen: Cost

    def __str__(self) -> str:
        """The advice as a clause.

        It reads: `with --page-size 3000 it takes 84 requests and about 9 s, instead of 804 and 10 min`.
        """
        larger = f"{counted(self.larger.total, 'request')} and about {clock_text(self.larger.seconds)}"
        chosen = f"{self.chosen.total:,} and {clock_text(self.chosen.seconds)}"
        return f"with --page-size {self.page_size} it takes {larger}, instead of {chosen}"


def page_size_advice(
    options: ExportOptions, records: Mapping[str, int], *, latency: float = _LATENCY
) -> PageSizeAdvice | None:
    """Compare the page size of an export with the largest one of its service.

    Args:
        options: The export.
        records: The number of records of each endpoint.
        latency: The time from a request to its response, in seconds.

    Returns:
        The advice; None if nothing worth a line is saved.
    """
    largest = options.service.largest_page_size or LARGEST_PAGE
    if options.tries_page_sizes or options.page_size >= largest or options.limit is not None:
        return None
    if sum(records.values()) / options.page_size > _MOST_REQUESTS:
        return None
    chosen, larger = (_cost(options, records, size, latency) for size in (options.page_size, largest))
    saves = chosen.seconds - larger.seconds >= _LEAST_SECONDS and chosen.seconds >= _LEAST_FACTOR * larger.seconds
    return PageSizeAdvice(largest, larger, chosen) if saves else None


def _cost(options: ExportOptions, records: Mapping[str, int], page_size: int, latency: float) -> Cost:
    return estimate(
        full_load(options.endpoints, records, page_size, consistent=options.consistent),
        service_limit=options.service_limit.scaled(options.share),
        ip_limit=options.ip_limit.scaled(options.share),
        sources=len(options.sources),
        min_interval=options.min_interval,
        latency=latency,
        workers=options.workers,
    )
