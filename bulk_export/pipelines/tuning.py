"""Timeouts, backoff and sizes of an export that users need not know."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bulk_export.core.ahead import usable_cores
from bulk_export.core.model import Endpoint
from bulk_export.core.window_gate import utc_now
from bulk_export.extract.client import Timeouts
from bulk_export.extract.retry import Backoff
from bulk_export.output.parts import PART_ROWS
from bulk_export.pipelines.option_parsing import LARGEST_PAGE

# The most that a record may take, on average over its page, and the smallest cap on a page: limits, not goals.
_BYTES_PER_RECORD = 32 * 1024
_SMALLEST_CAP = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Tuning:
    """Timeouts, backoff, and sources of time and chance; tests replace them.

    Attributes:
        timeouts: How long a request may take.
        shortest_backoff: The bound of the first delay before a retry, in seconds.
        longest_backoff: The bound that later delays do not exceed, in seconds.
        backoff_growth: The factor from one bound to the next.
        part_rows: The number of records after which a part ends, at the next end of a page.
        cores: How many blocks are decoded or written at once at most.
        uniform: Gives random numbers from 0 to 1, for the jitter.
        clock: Gives the current time in UTC.
        stopwatch: Gives seconds, to measure how long a page takes.
    """

    timeouts: Timeouts = field(default_factory=Timeouts)
    # With these, seven retries take three and a half minutes: each delay is half of its bound on average.
    shortest_backoff: float = 0.7
    longest_backoff: float = 180.0
    backoff_growth: float = 3.0
    part_rows: int = PART_ROWS
    cores: int = field(default_factory=usable_cores)
    uniform: Callable[[], float] = random.random
    clock: Callable[[], datetime] = utc_now
    stopwatch: Callable[[], float] = time.monotonic

    def longest_request(self, endpoints: Sequence[Endpoint]) -> float:
        """Return how many seconds a request may take. It is longer if one response may hold everything."""
        is_unpaged = any(endpoint.paging.style == "none" for endpoint in endpoints)
        return max(self.timeouts.total, self.timeouts.unpaged) if is_unpaged else self.timeouts.total

    def backoff(self, retries: int) -> Backoff:
        """Return the delays between requests for one page, of which `retries` may follow the first."""
        return Backoff(
            attempts=retries + 1,
            base=self.shortest_backoff,
            longest=self.longest_backoff,
            growth=self.backoff_growth,
        )


def body_cap(page_size: int | None) -> int:
    """Return how many bytes the body of a page may have, as sent and inflated; None stands for an unknown page size."""
    return max(_SMALLEST_CAP, (page_size or LARGEST_PAGE) * _BYTES_PER_RECORD)
