"""What is to be done about an answer or a failure: pure rules, with randomness passed in."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class StatusClass(enum.Enum):
    """What the outcome of one request means for its page."""

    ACCEPT = "accept"
    RETRY = "retry"
    THROTTLED = "throttled"
    REFUSED = "refused"


# Request timeout, too early, and too many requests are the 4xx that time may cure.
_CURABLE = frozenset({408, 425})


def disposition(status: int) -> StatusClass:
    """What an HTTP status means: only 200 is an answer, 429 a pause, 5xx may pass, all else is final.

    Redirects are final: following one could hand the token or the request to somebody else.
    """
    if status == 200:
        return StatusClass.ACCEPT
    if status == 429:
        return StatusClass.THROTTLED
    if status >= 500 or status in _CURABLE:
        return StatusClass.RETRY
    return StatusClass.REFUSED


# Statuses whose Retry-After announces when a service that is down for everybody comes back.
UNAVAILABLE = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter, a bounded number of times.

    `attempts` counts requests for one page, the first included. The delay before attempt n+1 is a random
    time from nothing up to `base * growth**(n-1)` seconds, `longest` at most.
    """

    attempts: int
    base: float = 0.25
    longest: float = 30.0
    growth: float = 2.0

    def exhausted(self, failures: int) -> bool:
        """Whether `failures` failed requests for one page are all that it gets."""
        return failures >= self.attempts

    def delay(self, failures: int, uniform: float) -> float:
        """Seconds to wait after the `failures`-th failure; `uniform` is a random number from 0 to 1."""
        return uniform * min(self.longest, self.base * self.growth ** min(failures - 1, 64))
