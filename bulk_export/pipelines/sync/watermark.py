"""From when on a poll asks for changes, and when everything is due again; pure, on instants of the service's clock.

The service advises to ask from two windows back, since a change may be committed late, with the time at which it
began. Two windows are two scheduled periods: a poll by hand, a retry or a resumed poll shortly after another one does
not use them up. A poll therefore starts at the start of the second last successful one, or a period before the start
of the last one, or two periods back, whichever is earliest.

A mark that lies in the future was made by a clock that was wrong, and is not believed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from bulk_export.core.clock import TOLERANCE

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_NOTHING = timedelta(0)
# How many starts of scheduled polls tell the spacing, and from how many gaps on the longest is taken for an outage.
_REMEMBERED = 9
_ENOUGH = 4
# What is taken for a period as long as nothing is known: the service advises to poll hourly.
USUAL_PERIOD = timedelta(hours=1)
_TOLERANCE = timedelta(seconds=TOLERANCE)


@dataclass(frozen=True, slots=True)
class Watermark:
    """One endpoint's successful polls: the starts of the last two, earlier first, and of the last full sync.

    `full` is None where the next poll has to be a full one.
    """

    polls: tuple[datetime, ...] = ()
    full: datetime | None = None

    def since(self, now: datetime, period: timedelta = _NOTHING) -> datetime | None:
        """What a poll at `now` asks from, in whole seconds; None where nothing was ever fetched.

        `period` lies between two scheduled polls. After a single poll, as far before it as it lies back.
        """
        if not self.polls:
            return None
        first = self.polls[0]
        if len(self.polls) == 1:
            first = _before(first, max(_NOTHING, now - first))
        first = min(first, _before(self.polls[-1], period))
        if period:
            first = min(first, _before(now, 2 * period))
        return first.replace(microsecond=0)

    def is_full_due(self, now: datetime, every: timedelta) -> bool:
        """Whether the last full sync lies so far back, in the future, or never was."""
        return self.full is None or now - self.full >= every or self.full > now + _TOLERANCE

    def believed(self, now: datetime) -> Watermark:
        """Without the marks that lie in the future; where none is left, nothing is known."""
        polls = tuple(start for start in self.polls if start <= now + _TOLERANCE)
        full = self.full if self.full is not None and self.full <= now + _TOLERANCE else None
        return self if (polls, full) == (self.polls, self.full) else Watermark(polls, full if polls else None)

    def after_changes(self, started_at: datetime, *, resumed: bool = False) -> Watermark:
        """After a successful poll. One that seems to have started before the last moves nothing forward.

        What was committed while a poll lay interrupted may be late by the window before it: after one that was
        `resumed`, the next asks from that far before its start at least.
        """
        polls = tuple(sorted((*self.polls[-1:], started_at)))
        if resumed and len(self.polls) == 2 and self.polls[-1] < started_at:
            polls = (min(self.polls[-1], started_at - (self.polls[-1] - self.polls[0])), started_at)
        return Watermark(polls, self.full)

    def after_full(self, started_at: datetime, *, resumed: bool = False) -> Watermark:
        """After a full sync, which counts as a poll.

        One that other polls overtook holds pages older than theirs: the next poll asks as if made right after it.
        """
        if self.polls and started_at < self.polls[-1]:
            window = self.polls[-1] - self.polls[0]
            return Watermark((min(self.polls[0], started_at - window), self.polls[-1]), started_at)
        return Watermark(self.after_changes(started_at, resumed=resumed).polls, started_at)

    def again(self) -> Watermark:
        """With a full sync due, since the last one proved nothing."""
        return replace(self, full=None)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How far scheduled polls lie apart, as told by --every or as seen.

    `starts` are those of the last successful polls that count as scheduled: none follows another one by less than half
    a period, as polls by hand and retries do. `every` is the period that was asked for.
    """

    starts: tuple[datetime, ...] = ()
    every: timedelta | None = None

    def period(self, now: datetime | None = None) -> timedelta:
        """What lies between two scheduled polls, up to one that is made `now`.

        The longest gap seen, without a single longer one that an outage explains, and an hour at least; or what was
        asked for, where that is longer.
        """
        starts = self.starts
        if now is not None:
            starts = tuple(one for one in starts if one <= now + _TOLERANCE)  # others are of a clock that was wrong
            starts = (*starts, max(now, starts[-1])) if starts else ()
        gaps = sorted(after - before for before, after in pairwise(starts))
        seen = gaps[-2] if len(gaps) >= _ENOUGH else gaps[-1] if gaps else _NOTHING
        return max(seen, self.every or USUAL_PERIOD)

    def after(self, start: datetime, every: timedelta | None = None) -> Rhythm:
        """After a successful poll, which was one of those made `every` so often, if that was asked for."""
        starts = tuple(one for one in self.starts if one <= start + _TOLERANCE)
        if starts and start - starts[-1] < replace(self, starts=starts).period() / 2:
            return Rhythm(starts, every or self.every)
        # What was asked for once holds until as many polls as are remembered came from somewhere else.
        kept = every or (self.every if len(starts) < _REMEMBERED else None)
        return Rhythm((*starts, start)[-_REMEMBERED:], kept)


def same_since(
    marks: Mapping[str, Watermark],
    names: Iterable[str],
    whole: Container[str],
    now: datetime,
    periods: Mapping[str, timedelta] = MappingProxyType({}),
) -> list[tuple[datetime | None, tuple[str, ...]]]:
    """Endpoints by what they are asked from, in the order given: each group can be polled as one.

    Those in `whole` cannot be asked for changes, and are asked for everything. `periods` are those of the endpoints.
    """
    groups: dict[datetime | None, list[str]] = {}
    for name in names:
        since = None if name in whole else marks.get(name, Watermark()).since(now, periods.get(name, _NOTHING))
        groups.setdefault(since, []).append(name)
    return [(since, tuple(group)) for since, group in groups.items()]


def _before(moment: datetime, by: timedelta) -> datetime:
    """A moment so much earlier, but no earlier than anything that a service can hold."""
    return moment if moment <= _EARLIEST else moment - min(by, moment - _EARLIEST)
