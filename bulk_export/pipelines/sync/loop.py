"""Runs a poll once a period, at an offset drawn at random, until it is told to stop."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from bulk_export.errors import BudgetUnavailable, ServiceFailing

# The service asks not to be polled on the hour, which is where most periods begin and end.
_MARGIN = 0.05
# A clock that is set, or a machine that slept, is noticed within this many seconds.
_LONGEST_SLEEP = 30.0


@dataclass(frozen=True, slots=True)
class LoopStats:
    """How many polls succeeded, how many failed, and how many periods went by while one was still running."""

    polls: int = 0
    failed: int = 0
    skipped: int = 0


async def repeat(
    every: float,
    poll: Callable[[], Awaitable[None]],
    *,
    clock: Callable[[], float],
    random: Callable[[], float],
    stop: anyio.Event,
    notice: Callable[[str], None],
) -> LoopStats:
    """Poll at once, then once in each period of `every` seconds, until `stop` is set between two polls.

    `clock` gives seconds since the epoch, `random` numbers from 0 to 1. The offset in the period is drawn once:
    drawn anew each time, two polls could lie almost two periods apart. Never two polls at once: one that takes
    longer than its period makes the next ones fall out. A service or budget store that is away does not end it, since
    the next poll covers what this one missed; any other error does, since only a person can mend it.
    A poll that is running when `stop` is set has to see to that itself.
    """
    offset = every * (_MARGIN + (1 - 2 * _MARGIN) * random())
    polls = failed = skipped = 0
    while not stop.is_set():
        began = clock()
        try:
            await poll()
        except (ServiceFailing, BudgetUnavailable) as error:
            failed += 1
            notice(f"This poll failed: {error.what} The next one covers what it missed.")
        else:
            polls += 1
        ended = clock()
        # The first poll came when the process started: one at least half a period later follows it.
        due = _next(began + every / 2, every, offset)
        late = max(0, math.ceil((ended - due) / every))
        if late:
            skipped += late
            due += late * every
            notice(f"The poll took {ended - began:.0f} s, longer than its period: {late} left out.")
        await _until(due, every, clock, stop)
    return LoopStats(polls, failed, skipped)


def _next(after: float, every: float, offset: float) -> float:
    """The first moment after `after` that lies `offset` into a period; periods count from the epoch."""
    return (math.floor((after - offset) / every) + 1) * every + offset


async def _until(due: float, every: float, clock: Callable[[], float], stop: anyio.Event) -> None:
    """Wait for a moment or for `stop`; a clock that is set back makes it wait a period at most."""
    while (now := clock()) < due:
        due = min(due, now + every * 1.5)
        with anyio.move_on_after(min(_LONGEST_SLEEP, due - now)):
            await stop.wait()
        if stop.is_set():
            return
