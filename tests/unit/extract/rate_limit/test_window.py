"""The sliding window of one limit."""

from __future__ import annotations

import math

from bulk_export.extract.rate_limit.window import SlidingWindow


def test_request_counts_a_period_after_its_end() -> None:
    """A request counts from sending until a period after the latest moment at which the service counted it."""
    window = SlidingWindow(60.0)
    window.add()
    assert window.used(1000.0) == 1
    window.end(counted_by=1000.0)
    assert [window.used(moment) for moment in (1059.9, 1060.0)] == [1, 0]


def test_unsent_request_does_not_count() -> None:
    """A request that was never sent stops counting at once."""
    window = SlidingWindow(60.0)
    window.add()
    window.remove()
    assert window.used(0.0) == 0


def test_free_at() -> None:
    """There is room once enough requests have stopped counting; never while those in flight fill the window."""
    window = SlidingWindow(60.0)
    for counted_by in (3.0, 1.0, 2.0):
        window.add()
        window.end(counted_by)
    window.add()
    assert window.free_at(5, 10.0) == 10.0
    assert [window.free_at(limit, 10.0) for limit in (4, 3, 2)] == [61.0, 62.0, 63.0]
    assert window.free_at(1, 10.0) == math.inf
