"""When nothing is sent because the service is away for everybody: pure rules, with time and randomness passed in.

A service is away (1) when it answers 502, 503 or 504 and announces with Retry-After when it will be back, or (2) when
no connection to it can be made. Every page would fail, so all of them wait, and a single request finds out whether the
service is back. Requests that were in flight when a hold began show nothing new, so they begin no further hold.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable

from bulk_export.core.units import format_duration
from bulk_export.errors import ServiceFailing
from bulk_export.extract.retry import Backoff

# A Retry-After of more than a day in a 429 cannot be the wait for a rate limit, so it is ignored.
_LONGEST_THROTTLING = 86_400.0


class Outage:
    """The hold that is common to all requests.

    `holds` counts the holds so far, and `failures` the failed connections since something was answered. Times are
    those of the event loop, in seconds.

    Args:
        backoff: How long to wait, and how often, if the service announced nothing.
        max_wait: The longest announced wait that is honoured, in seconds. It also bounds the sum of waits without a
            page in between, and the sum of waits for the same page.
        uniform: Gives random numbers from 0 to 1.
    """

    def __init__(self, backoff: Backoff, *, max_wait: float, uniform: Callable[[], float]) -> None:
        self.holds = 0
        self.failures = 0
        self._backoff = backoff
        self._max_wait = max_wait
        self._uniform = uniform
        self._until = float("-inf")
        self._reasons: set[str] = set()
        self._announced = 0
        self._waited = 0.0
        self._announced_for: Counter[Hashable] = Counter()
        self._waited_for: defaultdict[Hashable, float] = defaultdict(float)

    @property
    def has_begun(self) -> bool:
        """Whether there was any hold so far."""
        return self._until != float("-inf")

    def shut_for(self, now: float) -> float:
        """Return the seconds for which nothing may be sent, 0.0 if a request may be sent now."""
        return max(0.0, self._until - now)

    def announced(self, status: int, retry_after: float, page: Hashable, *, sent_in: int, now: float) -> float | None:
        """Record that the service answered with `status` and will be back in `retry_after` seconds.

        Args:
            status: The HTTP status.
            retry_after: The announced wait in seconds; below 0 counts as 0.
            page: The page that was requested.
            sent_in: The value of `holds` when the request was sent.
            now: The time of the event loop.

        Returns:
            The seconds of a hold that begins now; None if it had begun before the response.

        Raises:
            ServiceFailing: The wait is longer than may be waited.
        """
        retry_after = max(0.0, retry_after)
        if retry_after > self._max_wait:
            raise self._too_long(
                f"The service answered {status} and announced a wait of {format_duration(retry_after)}"
            )
        if sent_in != self.holds:
            self._until = max(self._until, now + retry_after)
            return None
        self._announced += 1
        self._announced_for[page] += 1
        before = max(self._waited, self._waited_for[page])
        # Retry-After is honoured, raised to an exponential backoff from the third consecutive announcement.
        times = max(self._announced, self._announced_for[page])
        patience = self._backoff.delay(times - 2, 0.5 + self._uniform() / 2) if times > 2 else 0.0
        wait = max(retry_after, min(patience, self._max_wait - before))
        # At least a second counts for each, so that a service that always announces 0 s is given up, too.
        counted = max(wait, 1.0)
        if before + counted > self._max_wait:
            announced = f"has announced one wait after another, of {format_duration(before + retry_after)} in all"
            raise self._too_long(f"The service answered {status} and {announced}")
        self._waited += counted
        self._waited_for[page] += counted
        self._hold(wait, now)
        return wait

    def throttled(self, retry_after: float | None, pause: float, *, now: float) -> float:
        """Record a 429, after which the rate limiter holds everybody for `pause` seconds.

        A Retry-After of up to a day is honoured if it is longer than that.

        Returns:
            The seconds of the longer one of both holds.

        Raises:
            ServiceFailing: `retry_after` is longer than may be waited.
        """
        if retry_after is None or retry_after <= pause or retry_after > max(self._max_wait, _LONGEST_THROTTLING):
            return pause
        if retry_after > self._max_wait:
            raise self._too_long(f"The service answered 429 and announced a wait of {format_duration(retry_after)}")
        self._until = max(self._until, now + retry_after)
        return retry_after

    def unreachable(self, reason: str, *, sent_in: int, now: float) -> float | None:
        """Record that no connection could be made, for a `reason`.

        Returns:
            The seconds of a hold that begins now, by the backoff; None if it had begun before.

        Raises:
            ServiceFailing: The backoff is exhausted.
        """
        if sent_in != self.holds:
            return None
        self.failures += 1
        if self._backoff.exhausted(self.failures):
            times = "" if self.failures == 1 else f" {self.failures} times"
            raise ServiceFailing(
                f"The connection to the service failed{times}, last: {reason}.",
                next_step="Run the same command again when it can be reached.",
            )
        delay = self._backoff.delay(self.failures, self._uniform())
        self._hold(delay, now)
        return delay

    def is_new_reason(self, reason: str) -> bool:
        """Return whether a reason is new, and remember it: the user is warned of each reason once."""
        is_new = reason not in self._reasons
        self._reasons.add(reason)
        return is_new

    def reached(self) -> int:
        """Record that the service responded. Return how many connections had failed before."""
        failures, self.failures = self.failures, 0
        return failures

    def over(self) -> None:
        """Record that a page arrived: from now on announced waits are summed up from zero."""
        self._announced, self._waited = 0, 0.0

    def _hold(self, seconds: float, now: float) -> None:
        self.holds += 1
        self._until = max(self._until, now + seconds)

    def _too_long(self, what: str) -> ServiceFailing:
        return ServiceFailing(
            f"{what}, which is more than the {format_duration(self._max_wait)} of --max-wait.",
            next_step="Run the same command again later, or with a longer --max-wait.",
        )
