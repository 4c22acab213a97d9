"""From when on a poll asks for changes, and when everything is due again; pure, on instants of the server's clock.

The service advises to ask from two windows back, since a change may be committed late, with the time at which it
began. A poll therefore starts at the start of the second last successful one: a change committed up to one window
late is seen by the next poll.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Watermark:
    """One endpoint's successful polls: the starts of the last two, earlier first, and of the last full sync."""

    polls: tuple[datetime, ...] = ()
    full: datetime | None = None

    def since(self, now: datetime) -> datetime | None:
        """What a poll at `now` asks from, in whole seconds; None where nothing was ever fetched.

        After a single poll, as far before it as it lies back.
        """
        if not self.polls:
            return None
        first = self.polls[0]
        if len(self.polls) == 1:
            first -= min(max(timedelta(0), now - first), max(timedelta(0), first - _EARLIEST))
        return first.replace(microsecond=0)

    def is_full_due(self, now: datetime, every: timedelta) -> bool:
        """Whether the last full sync lies so far back, or never was."""
        return self.full is None or now - self.full >= every

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


def same_since(
    marks: Mapping[str, Watermark], names: Iterable[str], whole: Container[str], now: datetime
) -> list[tuple[datetime | None, tuple[str, ...]]]:
    """Endpoints by what they are asked from, in the order given: each group can be polled as one.

    Those in `whole` cannot be asked for changes, and are asked for everything.
    """
    groups: dict[datetime | None, list[str]] = {}
    for name in names:
        since = None if name in whole else marks.get(name, Watermark()).since(now)
        groups.setdefault(since, []).append(name)
    return [(since, tuple(group)) for since, group in groups.items()]
