"""How long to hold after a 429: pure rules, with the time and the randomness passed in."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulk_export.server_clock import server_time

FIRST_BACKOFF = 2.0
# The service counts in windows aligned to the epoch; a moment later than the edge is surely in the next one.
# Told times are whole seconds, cut off; the same moment covers what was cut.
MARGIN = 0.25


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a 429 says about when to come back, in seconds.

    `told` is what its Retry-After asks for and `edge` the time to the next edge of an epoch-aligned window
    by the service's own clock, each None where nothing was said. `uniform` is random, from 0 to 1. Nothing
    makes a hold longer than `period` and a moment.
    """

    told: float | None
    edge: float | None
    period: float
    uniform: float

    def pause(self, refusals: int) -> float:
        """Seconds to send nothing after the `refusals`-th refusal in a row.

        A told time is kept to. Without one: a backoff that doubles, or the edge where that is sooner. A
        service that tells short times but goes on refusing is believed less each time.
        """
        if self.told is not None:
            patience = self._backoff(refusals - 2) if refusals > 2 else 0.0
            return min(max(self.told, patience, MARGIN), self.period) + self.uniform * MARGIN
        edge = self.period if self.edge is None else self.edge
        return min(edge, self._backoff(refusals), self.period)

    def _backoff(self, times: int) -> float:
        return FIRST_BACKOFF * 2.0 ** min(times - 1, 30) * (0.5 + self.uniform / 2)


def read_refusal(*, retry_after: str | None, date: str | None, wall: float, period: float, uniform: float) -> Refusal:
    """What the headers of a 429 say. `wall` is our clock, in seconds since the epoch.

    `Retry-After` is understood in both its forms (RFC 9110, 10.2.3), a date against the service's `Date`
    where there is one; anything else counts as not said.
    """
    theirs = _seconds(date)
    edge = None if theirs is None else period - theirs % period + MARGIN
    return Refusal(
        told=_told(retry_after, wall if theirs is None else theirs), edge=edge, period=period, uniform=uniform
    )


def _told(retry_after: str | None, now: float) -> float | None:
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
        return float(text)
    until = _seconds(text)
    return None if until is None else until - now


def _seconds(date: str | None) -> float | None:
    """An HTTP date in seconds since the epoch, None where it is none."""
    moment = server_time(date)
    return None if moment is None else moment.timestamp()
