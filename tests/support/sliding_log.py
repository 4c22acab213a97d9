"""A simple count of requests, written independently of the code that it checks."""

from __future__ import annotations

from collections.abc import Sequence


def most_in_any_window(moments: Sequence[float], period: float) -> int:
    """Return the largest number of moments in any half-open window of `period`."""
    ordered = sorted(moments)
    return max(
        (sum(1 for moment in ordered if start <= moment < start + period) for start in ordered),
        default=0,
    )


def most_in_any_fixed_window(moments: Sequence[float], period: float, offset: float = 0.0) -> int:
    """Return the largest number of moments in one window of a clock that is divided into windows of `period`."""
    counts: dict[int, int] = {}
    for moment in moments:
        piece = int((moment + offset) // period)
        counts[piece] = counts.get(piece, 0) + 1
    return max(counts.values(), default=0)
