"""How far a stream has come: what `sync` keeps of an endpoint between two polls, as an offset that Spark stores.

An offset is the watermark after a poll. From the offset before a poll and the one after it follows what the poll
requests, so a batch that is repeated after a crash requests the same again, and finds what has changed since as well.
All instants are by the service's clock. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bulk_export.core.clock import consensus, kept_readings, supported_difference, valid_difference
from bulk_export.core.units import format_instant, parse_instant
from bulk_export.errors import DamagedState, UsageError
from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark

_FORMAT = 1
# A trigger that fires a moment early must not wait for the next one.
_MOST_EARLY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class ListOffset:
    """How far the polls of one list have come.

    Attributes:
        source: Distinguishes the list from others: service, endpoint, filters and columns.
        watermark: The starts of its last polls.
        schedule: How far apart its polls are.
        clock_ahead: Seconds by which the service's clock was taken to be ahead of ours in the last poll.
        clock_readings: How far it was ahead in the last polls, in seconds.
    """

    source: str
    watermark: Watermark = Watermark()  # noqa: RUF009 - a value
    schedule: PollSchedule = PollSchedule()  # noqa: RUF009 - a value
    clock_ahead: float = 0.0
    clock_readings: tuple[float, ...] = ()

    def service_time(self, now: datetime) -> datetime:
        """An instant of our clock, by the service's clock."""
        return now + timedelta(seconds=self.clock_ahead)

    def is_due(self, now: datetime, every: timedelta) -> bool:
        """Whether to poll `now`, by our clock: nothing was fetched yet, or the last poll is `every` ago."""
        service_now = self.service_time(now)
        polls = self.watermark.without_future(service_now).polls
        return not polls or service_now - polls[-1] >= every - min(every / 10, _MOST_EARLY)

    def is_before(self, target: datetime) -> bool:
        """Whether no poll has started since `target`, by our clock."""
        polls = self.watermark.polls
        return not polls or polls[-1] < self.service_time(target)

    def after_poll(
        self, now: datetime, readings: Sequence[float], *, every: timedelta, full_every: timedelta, has_changes: bool
    ) -> ListOffset:
        """Return the offset after a poll that starts `now`.

        Args:
            now: The present, by our clock.
            readings: By how many seconds the service's clock is ahead of ours, by its first answers.
            every: The time between two polls.
            full_every: The time after which everything is read again.
            has_changes: Whether the service can be asked for changes.
        """
        reading, agreeing = consensus(readings)
        ahead = supported_difference(reading, agreeing, self.clock_readings, self.clock_ahead)
        started_at = now + timedelta(seconds=ahead)
        watermark = self.watermark.without_future(started_at)
        is_full = not has_changes or watermark.is_full_due(started_at, full_every)
        return ListOffset(
            self.source,
            watermark.after_full(started_at) if is_full else watermark.after_changes(started_at),
            self.schedule.after(started_at, every),
            ahead,
            kept_readings(self.clock_readings, reading),
        )

    def since(self, after: ListOffset) -> datetime | None:
        """Return the instant from which the poll between this offset and `after` requests changes; None for all."""
        if after.watermark.full != self.watermark.full:
            return None
        started_at = after.started_at
        schedule = replace(self.schedule, every=after.schedule.every)
        return self.watermark.since(started_at, schedule.interval(started_at))

    @property
    def started_at(self) -> datetime:
        """The start of the last poll; there has to be one."""
        return self.watermark.polls[-1]


def offset_of(lists: Mapping[str, ListOffset]) -> dict[str, Any]:
    """Return the offset of several lists, by tenant, as values that Spark stores: texts and objects."""
    return {"format": _FORMAT, "lists": {name: _to_json(one) for name, one in lists.items()}}


def lists_of(offset: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, ListOffset]:
    """Return what an offset says of each list, and a beginning for those that it does not know.

    Args:
        offset: The offset, as `offset_of` made it.
        sources: What distinguishes each list of the stream from others.

    Raises:
        DamagedState: It is of a newer version, or no offset.
        UsageError: It belongs to other lists.
    """
    try:
        if offset["format"] != _FORMAT:
            raise _unusable("it was written by a newer version of this program")
        found = {str(name): _from_json(one) for name, one in offset["lists"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, UsageError):
        raise _unusable("it is not complete, or holds impossible values") from None
    for name, source in sources.items():
        if found.setdefault(name, ListOffset(source)).source != source:
            raise UsageError(
                "The checkpoint belongs to another stream: its service, endpoint, filters or columns are not those of"
                " this one.",
                kept="Nothing was requested.",
                next_step="Choose another checkpointLocation, and another table.",
            )
    return {name: found[name] for name in sources}


def _to_json(one: ListOffset) -> dict[str, Any]:
    full, every = one.watermark.full, one.schedule.every
    return {
        "source": one.source,
        "polls": _instants(one.watermark.polls),
        "full": "" if full is None else format_instant(full),
        "starts": _instants(one.schedule.starts),
        "every": "" if every is None else str(every.total_seconds()),
        "clock_ahead": str(one.clock_ahead),
        "clock_readings": " ".join(map(str, one.clock_readings)),
    }


def _from_json(found: Mapping[str, str]) -> ListOffset:
    polls = tuple(sorted(map(parse_instant, found["polls"].split())))
    if len(polls) > 2:
        raise ValueError("more than two starts")
    full, every = found["full"], found["every"]
    return ListOffset(
        source=str(found["source"]),
        watermark=Watermark(polls, parse_instant(full) if full else None),
        schedule=PollSchedule(
            tuple(sorted(map(parse_instant, found["starts"].split()))),
            timedelta(seconds=float(every)) if every else None,
        ),
        clock_ahead=valid_difference(float(found["clock_ahead"])),
        clock_readings=tuple(map(float, found["clock_readings"].split())),
    )


def _instants(instants: Sequence[datetime]) -> str:
    return " ".join(map(format_instant, instants))


def _unusable(reason: str) -> DamagedState:
    return DamagedState(
        f"The offset in the checkpoint cannot be used: {reason}.",
        kept="Nothing was requested.",
        next_step="Choose another checkpointLocation, which reads everything once.",
    )
