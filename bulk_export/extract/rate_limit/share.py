"""Leaving part of the limits to others."""

from __future__ import annotations

import math

from bulk_export.core.model import Limit


def part_of(limit: Limit, share: float) -> Limit:
    """The `share` (a fraction) of a limit, rounded down, at least one request."""
    return Limit(max(1, math.floor(limit.requests * share + 1e-9)), limit.period)
