"""An independent count of requests, as plain as can be: written apart from the code that it checks."""

from __future__ import annotations

from collections.abc import Sequence


def most_in_any_window(moments: Sequence[float], period: float) -> int:
    """The most moments that fall into one half-open window of `period`, wherever it begins."""
    ordered = sorted(moments)
    return max(
        (sum(1 for moment in ordered if start <= moment < start + period) for start in ordered),
        default=0,
    )


def most_in_any_fixed_window(moments: Sequence[float], period: float, offset: float = 0.0) -> int:
    """The most moments that fall into one window of a clock cut into pieces of `period`."""
    counts: dict[int, int] = {}
    for moment in moments:
        piece = int((moment + offset) // period)
        counts[piece] = counts.get(piece, 0) + 1
    return max(counts.values(), default=0)
