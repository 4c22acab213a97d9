"""Who may take the next slot: pure rules on counts, the same wherever these are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.routes import UNKNOWN, load

# Longer than a waiting process that is alive is ever late in asking again.
GRACE = 1.0
# Those ahead are awake and about to take what is free.
SHORTEST_POLL = 0.005
_LONGEST_POLL, _POLLS_A_PERIOD = 1.0, 8


def longest_poll(terms: Limits) -> float:
    """How long a process waits at most before it asks again, since others may give slots back early."""
    return min(_LONGEST_POLL, min(terms.service_limit.period, terms.address_limit.period) / _POLLS_A_PERIOD)


def next_source(
    terms: Limits, *, limit: int, used: int, used_from: Mapping[str, int], ahead: Sequence[Limits] = ()
) -> int | None:
    """The place in `terms.sources`, here routes, of the one to send from now; None where nothing may be sent.

    `limit` is what the common window may hold and `used` what it holds, `used_from` the same by route.
    Those `ahead` have waited for longer, the longest first: each is served in thought before, so that nobody
    overtakes where slots are scarce. One who could not be served anyway, having lower limits or full
    addresses, holds nobody up.
    """
    taken = 0
    held: Counter[str] = Counter(used_from)

    def choice(of: Limits, limit: int) -> int | None:
        if used + taken >= limit:
            return None
        loads = [load(route or UNKNOWN, held) for route in of.sources]
        least = min(range(len(loads)), key=loads.__getitem__)
        return least if loads[least] < of.address_limit.requests else None

    for other in ahead:
        place = choice(other, min(limit, other.service_limit.requests))
        if place is not None:
            taken += 1
            held[other.sources[place] or UNKNOWN] += 1
    return choice(terms, limit)
