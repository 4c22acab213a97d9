"""Who may take the next permit, and from which address: pure rules on counts, the same in every ledger.

ledger.lua has the same rules for Redis; `tests/service/rate_limit/test_redis.py` compares the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.routes import UNKNOWN, requests_on

# Seconds after which a waiting process that has not asked again counts as dead: a live one is never that late.
GRACE = 1.0
# Seconds to the next attempt if only processes ahead in the queue are in the way: they are about to claim.
SHORTEST_POLL = 0.005
_LONGEST_POLL, _POLLS_A_PERIOD = 1.0, 8


def longest_poll(limits: Limits) -> float:
    """Return the most seconds that a process waits before it asks again, since others may release permits early."""
    return min(_LONGEST_POLL, min(limits.service_limit.period, limits.address_limit.period) / _POLLS_A_PERIOD)


def next_source(
    limits: Limits,
    *,
    effective_limit: int,
    used: int,
    used_by_route: Mapping[str, int],
    ahead: Sequence[Limits] = (),
) -> int | None:
    """Choose the source address for the next request.

    1. Earlier waiters are tentatively given their permits first, so that nobody overtakes them while permits are
       scarce.
    2. An earlier waiter that could not be given one anyway, because its own limit is lower or its addresses are used
       up, does not hold up those behind it.
    3. Of several addresses the least used one is chosen, if its limit allows another request.

    Args:
        limits: Limits of the process that asks, with routes in place of source addresses (`Limits.with_routes`).
        effective_limit: Requests that the common window may hold.
        used: Requests that it holds.
        used_by_route: Requests in the windows of addresses, by route.
        ahead: Limits of the processes that have waited longer, the longest first, with routes as well.

    Returns:
        The index in `limits.sources` of the address to send from; None if nothing may be sent.
    """
    if not ahead:
        return _least_used(limits, effective_limit, used, used_by_route)
    counts: Counter[str] = Counter(used_by_route)
    for waiter in ahead:
        index = _least_used(waiter, min(effective_limit, waiter.service_limit.requests), used, counts)
        if index is not None:
            used += 1
            counts[waiter.sources[index] or UNKNOWN] += 1
    return _least_used(limits, effective_limit, used, counts)


def _least_used(waiter: Limits, limit: int, used: int, used_by_route: Mapping[str, int]) -> int | None:
    if used >= limit:
        return None
    loads = [requests_on(route or UNKNOWN, used_by_route) for route in waiter.sources]
    least = min(loads)
    return loads.index(least) if least < waiter.address_limit.requests else None
