"""What to do about a response or a failed request: pure rules, with time and randomness passed in.

| status | class | what follows |
| --- | --- | --- |
| 200 | ACCEPT | the body is validated and stored |
| 429 | THROTTLED | the rate limiter holds everybody, then the page is requested again |
| 408, 425, 5xx | RETRY | the page is requested again after a backoff, a bounded number of times |
| all others | REJECTED | the run ends; redirects are among them |
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from bulk_export.core.clock import announced_wait
from bulk_export.errors import ServiceRefused
from bulk_export.extract.response import Response

# Request timeout and too early are the 4xx, besides 429, that time may cure.
_CURABLE = frozenset({408, 425})
_NOT_FOUND = 404
# Another token, or another password of the proxy, may be accepted.
_OF_CREDENTIALS = frozenset({401, 403, 407})
# Statuses whose Retry-After announces when a service that is down for everybody comes back.
UNAVAILABLE = frozenset({502, 503, 504})
_ADVICE = {
    400: "Check the filters and --updated-since.",
    401: "Check the token, then run the same command again.",
    403: "Check that the token may read this service, then run the same command again.",
    404: "Check --base-url, --service and --api-version.",
    407: "A proxy on the way asks for a user name and a password: check HTTPS_PROXY.",
    422: "Check the filters and --updated-since.",
}


class StatusClass(enum.Enum):
    """What an HTTP status means for the page that was requested."""

    ACCEPT = "accept"
    RETRY = "retry"
    THROTTLED = "throttled"
    REJECTED = "rejected"


def classify_status(status: int) -> StatusClass:
    """Classify an HTTP status: only 200 is accepted, 429 is a pause, 5xx may pass, all else is final.

    Redirects are final: following one could hand the token or the request to somebody else.

    >>> classify_status(503)
    <StatusClass.RETRY: 'retry'>
    """
    if status == 200:
        return StatusClass.ACCEPT
    if status == 429:
        return StatusClass.THROTTLED
    if status >= 500 or status in _CURABLE:
        return StatusClass.RETRY
    return StatusClass.REJECTED


def rejection_error(response: Response, what: str, *, successor: str | None) -> ServiceRefused:
    """Make the error for a response that no further request would change.

    Args:
        response: The rejected request's response.
        what: What was requested, in words, for example "page 3 of statements".
        successor: The service that replaced this one, if any; named where this one answers 404.
    """
    advice = _ADVICE.get(response.status, "Check --base-url; redirects are never followed.")
    if response.status == _NOT_FOUND and successor is not None:
        advice += f" Another service took the place of this one: --service {successor}."
    message = f": {response.message}" if response.message else ""
    error = ServiceRefused(f"The service refused {what} with status {response.status}{message}.", next_step=advice)
    error.may_pass = response.status in _OF_CREDENTIALS
    return error


def announced_seconds(response: Response, *, wall: float) -> float | None:
    """Return in how many seconds Retry-After says to come back, or None without a usable one.

    `wall` is our clock in seconds since 1970, for a Retry-After that is a date.
    """
    return announced_wait(response.retry_after, date=response.date, wall=wall)


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


class FailureCounts:
    """Counts the failed requests for each page of one run, and says how long to wait before the next."""

    def __init__(self, backoff: Backoff, uniform: Callable[[], float]) -> None:
        self._backoff = backoff
        self._uniform = uniform
        self._failures: Counter[Hashable] = Counter()

    def of(self, page: Hashable) -> int:
        """How many requests for a page have failed."""
        return self._failures[page]

    def next_delay(self, page: Hashable) -> float | None:
        """Count one more failure of a page. Return the seconds to wait, or None if it gets no further request."""
        self._failures[page] += 1
        failures = self._failures[page]
        return None if self._backoff.exhausted(failures) else self._backoff.delay(failures, self._uniform())
