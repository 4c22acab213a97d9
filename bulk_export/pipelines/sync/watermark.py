"""Since when a poll requests changes, and when a full sync is due. Pure; all instants are by the service's clock.

The service advises asking from two poll intervals back: a change may be committed up to an interval late, with the
`updated_at` at which its transaction began. A poll by hand, a retry or a resumed poll shortly after another one must
not shorten that. A poll therefore asks from the earliest of

1. the start of the second last successful poll;
2. one interval before the start of the last successful poll;
3. two intervals before now.

Example: polls start at 13:15, 14:15 and, by hand, 14:20; the next one starts at 15:15. Case 1 gives 14:15, case 2 13:20
and case 3 13:15, which is the earliest. So a change that began at 13:20 and was committed at 14:21 is found, which
case 1 alone would miss.

A start in the future was noted by a wrong clock, and is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bulk_export.core.clock import TOLERANCE

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_NOTHING = timedelta(0)
# How many starts of scheduled polls are kept, and from how many gaps on the longest is taken for an outage.
_REMEMBERED = 9
_ENOUGH = 4
# The interval until another one is known: the service advises polling hourly.
USUAL_INTERVAL = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=TOLERANCE)


@dataclass(frozen=True, slots=True)
class Watermark:
    """The starts of an endpoint's last successful polls.

    Attributes:
        polls: Starts of the last two polls, earlier first.
        full: Start of the last full sync; None if the next poll has to be a full sync.
    """

    polls: tuple[datetime, ...] = ()
    full: datetime | None = None

    def since(self, now: datetime, interval: timedelta = _NOTHING) -> datetime | None:
        """Return the instant from which a poll at `now` asks for changes; None if nothing was ever fetched.

        The service shows whole seconds, so parts of a second are cut off. After a single poll, which has no second last
        one, the instant is as long before that poll as the poll is before now.

        Args:
            now: The present.
            interval: The time between two scheduled polls; zero if only the starts are to decide.
        """
        if not self.polls:
            return None
        first = self.polls[0]
        if len(self.polls) == 1:
            first = _before(first, max(_NOTHING, now - first))
        first = min(first, _before(self.polls[-1], interval))
        if interval:
            first = min(first, _before(now, 2 * interval))
        return first.replace(microsecond=0)

    def is_full_due(self, now: datetime, every: timedelta) -> bool:
        """Whether there was no full sync yet, or the last one is `every` ago or in the future."""
        return self.full is None or now - self.full >= every or self.full > now + _TOLERANCE

    def without_future(self, now: datetime) -> Watermark:
        """The watermark without starts in the future. If no poll is left, neither is the full sync."""
        polls = tuple(start for start in self.polls if start <= now + _TOLERANCE)
        full = self.full if self.full is not None and self.full <= now + _TOLERANCE else None
        return self if (polls, full) == (self.polls, self.full) else Watermark(polls, full if polls else None)

    def after_changes(self, started_at: datetime, *, resumed: bool = False) -> Watermark:
        """The watermark after a successful poll for changes. A start before the last one moves nothing forward.

        A resumed poll may lie long after its start. What was committed in between may be late by the gap before it,
        so the next poll asks from at least that long before the start of the resumed one.
        """
        polls = tuple(sorted((*self.polls[-1:], started_at)))
        if resumed and len(self.polls) == 2 and self.polls[-1] < started_at:
            polls = (min(self.polls[-1], started_at - (self.polls[-1] - self.polls[0])), started_at)
        return Watermark(polls, self.full)

    def after_full(self, started_at: datetime, *, resumed: bool = False) -> Watermark:
        """The watermark after a full sync, which counts as a poll, too.

        Other polls may have started while it was interrupted. Its pages are older than theirs, so the next poll asks as
        if it followed the full sync directly.
        """
        if self.polls and started_at < self.polls[-1]:
            gap = self.polls[-1] - self.polls[0]
            return Watermark((min(self.polls[0], started_at - gap), self.polls[-1]), started_at)
        return Watermark(self.after_changes(started_at, resumed=resumed).polls, started_at)

    def with_full_due(self) -> Watermark:
        """The watermark with a full sync due."""
        return replace(self, full=None)


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How far apart the scheduled polls of an endpoint are, as `--every` says or as observed.

    Attributes:
        starts: Starts of the last successful scheduled polls. A poll less than half an interval after another one, as
            polls by hand and retries are, is not a scheduled one.
        every: The interval that `--every` gave.
    """

    starts: tuple[datetime, ...] = ()
    every: timedelta | None = None

    def interval(self, now: datetime | None = None) -> timedelta:
        """Return the time between two scheduled polls, including one that starts `now`.

        1. It is the longest gap observed. From four gaps on, the second longest: the longest may be an outage.
        2. It is at least `every`, or an hour if that is not known.
        """
        starts = self.starts
        if now is not None:
            starts = tuple(start for start in starts if start <= now + _TOLERANCE)
            starts = (*starts, max(now, starts[-1])) if starts else ()
        gaps = sorted(after - before for before, after in pairwise(starts))
        seen = gaps[-2] if len(gaps) >= _ENOUGH else gaps[-1] if gaps else _NOTHING
        return max(seen, self.every or USUAL_INTERVAL)

    def after(self, start: datetime, every: timedelta | None = None) -> PollSchedule:
        """Return the schedule after a successful poll, made with `--every` if `every` is given."""
        starts = tuple(earlier for earlier in self.starts if earlier <= start + _TOLERANCE)
        if starts and start - starts[-1] < replace(self, starts=starts).interval() / 2:
            return PollSchedule(starts, every or self.every)
        # An interval from --every is forgotten once as many polls as are kept came without it.
        kept = every or (self.every if len(starts) < _REMEMBERED else None)
        return PollSchedule((*starts, start)[-_REMEMBERED:], kept)


def _before(moment: datetime, by: timedelta) -> datetime:
    """An instant so much earlier, but not before 2000, since when no service holds anything."""
    return moment if moment <= _EARLIEST else moment - min(by, moment - _EARLIEST)
