"""Bounds of an export that users need not know."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bulk_export.core.model import Endpoint
from bulk_export.core.window_gate import utc_now
from bulk_export.extract.client import Timeouts
from bulk_export.extract.retry import Backoff
from bulk_export.output.parts import PART_ROWS
from bulk_export.pipelines.option_parsing import LARGEST_PAGE

# What a record may take at most, on average over a page, and a page at least: caps on bodies, not goals.
_BYTES_PER_RECORD = 32 * 1024
_SMALLEST_CAP = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tuning:
    """Bounds that users need not know: timeouts, backoff, and where parts are cut."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    # Seven retries, each on average half of its bound, are spread over three and a half minutes.
    shortest_backoff: float = 0.7
    longest_backoff: float = 180.0
    backoff_growth: float = 3.0
    part_rows: int = PART_ROWS
    uniform: Callable[[], float] = random.random
    clock: Callable[[], datetime] = utc_now

    def longest_request(self, endpoints: Sequence[Endpoint]) -> float:
        """How many seconds a request may take, longer where one answer may hold everything."""
        whole = any(endpoint.paging.style == "none" for endpoint in endpoints)
        return max(self.timeouts.total, self.timeouts.whole) if whole else self.timeouts.total

    def backoff(self, retries: int) -> Backoff:
        """How to retry, where `retries` requests may follow the first one for a page."""
        return Backoff(
            attempts=retries + 1,
            base=self.shortest_backoff,
            longest=self.longest_backoff,
            growth=self.backoff_growth,
        )


def body_cap(page_size: int | None) -> int:
    """How many bytes the body of a page may have, as sent and inflated; None is a size that nobody knows."""
    return max(_SMALLEST_CAP, (page_size or LARGEST_PAGE) * _BYTES_PER_RECORD)
