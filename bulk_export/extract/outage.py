"""When nothing is sent because the service is away for everybody: pure rules, with time and randomness passed in.

A service is away when it answers 502, 503 or 504 and announces with Retry-After when it will be back, or when no
connection to it can be made. All pages would meet the same, so all of them wait, and one of them finds out whether it
is over. What was on its way when a hold began tells nothing new.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable

from bulk_export.core.units import format_duration
from bulk_export.errors import ServiceFailing
from bulk_export.extract.retry import Backoff

_KEPT = "Every page stored so far is kept."
# The Retry-After of a 429 that asks for more than a day is not the wait for a limit, and is not believed.
_LONGEST_REFUSAL = 86_400.0


class Outage:
    """The hold that is common to all requests.

    Announced waits are honoured up to `max_wait` seconds, each of them and all of them together that follow one
    another without a page in between or concern the same page. `backoff` says how long to wait, and how often, where
    nothing was announced. `uniform` gives random numbers from 0 to 1. Times are those of the event loop.
    """

    def __init__(self, backoff: Backoff, *, max_wait: float, uniform: Callable[[], float]) -> None:
        self.holds = 0
        self.failures = 0
        self._backoff = backoff
        self._max_wait = max_wait
        self._uniform = uniform
        self._until = float("-inf")
        self._announced = 0
        self._waited = 0.0
        self._announced_for: Counter[Hashable] = Counter()
        self._waited_for: defaultdict[Hashable, float] = defaultdict(float)

    def shut_for(self, now: float) -> float:
        """Seconds for which nothing may be sent, 0.0 where a request may be."""
        return max(0.0, self._until - now)

    def announced(self, status: int, told: float, page: Hashable, *, sent_in: int, now: float) -> float | None:
        """The service answered with `status` that it will be back in `told` seconds. `sent_in` is what `holds` was
        when the request was sent.

        Returns:
            The seconds of a hold that begins now, None where it had begun already.

        Raises:
            ServiceFailing: where that is longer than may be waited.
        """
        told = max(0.0, told)
        if told > self._max_wait:
            raise self._too_long(f"The service answered {status} and announced a wait of {format_duration(told)}")
        if sent_in != self.holds:
            self._until = max(self._until, now + told)
            return None
        self._announced += 1
        self._announced_for[page] += 1
        before = max(self._waited, self._waited_for[page])
        # A service that announces short waits and is not back after them is believed less each time.
        times = max(self._announced, self._announced_for[page])
        patience = self._backoff.delay(times - 2, 0.5 + self._uniform() / 2) if times > 2 else 0.0
        wait = max(told, min(patience, self._max_wait - before))
        counted = max(wait, 1.0)
        if before + counted > self._max_wait:
            said = f"has announced one wait after another, of {format_duration(before + told)} in all"
            raise self._too_long(f"The service answered {status} and {said}")
        self._waited += counted
        self._waited_for[page] += counted
        self._hold(wait, now)
        return wait

    def refused(self, told: float | None, pause: float, *, now: float) -> float:
        """The service answered 429, for which the limiter holds for `pause` seconds; the seconds of the longer hold.

        Raises ServiceFailing where the wait that it `told` is longer than may be waited.
        """
        if told is None or told <= pause or told > max(self._max_wait, _LONGEST_REFUSAL):
            return pause
        if told > self._max_wait:
            raise self._too_long(f"The service answered 429 and announced a wait of {format_duration(told)}")
        self._until = max(self._until, now + told)
        return told

    def unreachable(self, reason: str, *, sent_in: int, now: float) -> float | None:
        """No connection could be made, for a reason; as `announced`, but by the backoff."""
        if sent_in != self.holds:
            return None
        self.failures += 1
        if self._backoff.exhausted(self.failures):
            times = "" if self.failures == 1 else f" {self.failures} times"
            raise ServiceFailing(
                f"The connection to the service failed{times}, last: {reason}.",
                kept=_KEPT,
                next_step="When it can be reached, the same command goes on from here.",
            )
        delay = self._backoff.delay(self.failures, self._uniform())
        self._hold(delay, now)
        return delay

    def reached(self) -> int:
        """Something was answered; the failures to connect that came before it."""
        failures, self.failures = self.failures, 0
        return failures

    def over(self) -> None:
        """A page arrived."""
        self._announced, self._waited = 0, 0.0

    def _hold(self, seconds: float, now: float) -> None:
        self.holds += 1
        self._until = max(self._until, now + seconds)

    def _too_long(self, what: str) -> ServiceFailing:
        return ServiceFailing(
            f"{what}, which is more than the {format_duration(self._max_wait)} of --max-wait.",
            kept=_KEPT,
            next_step="The same command goes on from here later, or waits if --max-wait is longer.",
        )
