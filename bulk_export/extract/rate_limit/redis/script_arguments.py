"""The keys and arguments of ledger.lua.

Each step of the script gets one JSON object, made of four parts:

1. constants of the process, `process_arguments`: its limits, the names of its keys, and the numbers of the rules, which
   stand in Python alone;
2. what this process knows of the server's record, `RecordWatch.arguments`, by which the script notices losses;
3. the current routes and, in simulations, the time;
4. the arguments of the step itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bulk_export.extract.rate_limit.fairness import GRACE, SHORTEST_POLL, longest_poll
from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.redis.client import SECRET, SECRET_DAYS, SERVER, TAG
from bulk_export.extract.rate_limit.retry_after import FIRST_BACKOFF, MARGIN, RetryAfter
from bulk_export.extract.rate_limit.throttle_state import AFTER_LOST_PROBE, GROWTH_PERIODS


def microseconds(seconds: float) -> int:
    """Return seconds as the script counts them: JSON numbers of that size keep their digits in Lua."""
    return round(seconds * 1e6)


def key_names(key: RateLimitKey) -> list[str]:
    """Return the names of the Redis keys of a rate limit key, in the order in which ledger.lua unpacks them."""
    own = [f"{TAG}:{key.number:x}:{kind}" for kind in ("state", "spent", "through", "queue", "waiters")]
    return [SECRET, SERVER, f"{TAG}:{key.service_number:x}:clock", *own]


def process_arguments(key: RateLimitKey, limits: Limits, claimant: str) -> dict[str, object]:
    """Return the arguments that stay the same for a process.

    Args:
        key: Whose requests count.
        limits: What the process keeps to.
        claimant: Identifies the process in the queue.
    """
    return {
        "secret_lapse": SECRET_DAYS * 86_400_000,
        "prefix": f"{TAG}:",
        "account": f"{key.number:x}",
        "routes": f"{TAG}:{key.service_number:x}:from:",
        "claimant": claimant,
        "service": key.service,
        "token": key.token,
        "limits": msgspec.json.encode((limits.service_limit, limits.address_limit)).decode(),
        "service_limit": limits.service_limit.requests,
        "service_period": microseconds(limits.service_limit.period),
        "address_limit": limits.address_limit.requests,
        "address_period": microseconds(limits.address_limit.period),
        "longest_period": microseconds(limits.longest_period),
        "longest_request": microseconds(limits.longest_request),
        "max_count_delay": microseconds(limits.max_count_delay),
        "grace": microseconds(GRACE),
        "shortest_poll": microseconds(SHORTEST_POLL),
        "longest_poll": microseconds(longest_poll(limits)),
        "first_backoff": microseconds(FIRST_BACKOFF),
        "margin": microseconds(MARGIN),
        "after_lost_probe": microseconds(AFTER_LOST_PROBE),
        "growth_periods": GROWTH_PERIODS,
    }


def retry_after_arguments(retry_after: RetryAfter) -> dict[str, object]:
    """Return the values of a response with 429 for the step `report_throttled`. Values that it lacks are absent."""
    arguments: dict[str, object] = {
        "period": microseconds(retry_after.period),
        "longest_retry_after": microseconds(retry_after.longest_retry_after),
        "uniform": retry_after.uniform,
    }
    if retry_after.retry_after is not None:
        arguments["retry_after"] = microseconds(retry_after.retry_after)
    if retry_after.window_boundary is not None:
        arguments["window_boundary"] = microseconds(retry_after.window_boundary)
    return arguments


@dataclass(frozen=True, slots=True)
class RecordWatch:
    """What one process remembers of the record on the server, to notice when a part of it is lost.

    Attributes:
        memory_seconds: Seconds for which what was on record can still matter.
        server_time: The record's time at the last reply, in microseconds; None before the first one.
        replied_at: When the step of that reply was sent, in seconds on the clock of this process.
        is_suspect: Whether the record was emptied while it mattered, and the server does not know it yet.
    """

    memory_seconds: float
    server_time: int | None = None
    replied_at: float = 0.0
    is_suspect: bool = False

    def after_reply(self, server_time: int, sent_at: float) -> RecordWatch:
        """Return the state after a reply to a step that was sent at `sent_at`."""
        return RecordWatch(self.memory_seconds, server_time, sent_at)

    def after_emptying(self, now: float) -> RecordWatch:
        """Return the state after the record turned out to have been emptied: what was spent before is not known."""
        return RecordWatch(self.memory_seconds, is_suspect=self.is_suspect or self._matters(now))

    def arguments(self, now: float) -> dict[str, object]:
        """Return the arguments of a step that is sent at `now`.

        `suspect` and `known` let the script count every window as full after a loss. `seen` and `elapsed` bound how far
        the server's clock is followed forwards, and show when it went back.
        """
        arguments: dict[str, object] = {"suspect": self.is_suspect, "known": self._matters(now)}
        if self.server_time is not None:
            arguments |= {"seen": self.server_time, "elapsed": microseconds(now - self.replied_at)}
        return arguments

    def _matters(self, now: float) -> bool:
        return self.server_time is not None and now - self.replied_at < self.memory_seconds
