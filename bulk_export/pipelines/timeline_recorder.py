"""Records when the requests of an export are sent, in bounded memory and at the cost of a counter a request.

Seconds are counted in buckets. Once there are more than 240 of them, two neighbours become one, so a short export is
shown by the second and a long one more coarsely. Seconds in which nothing happened have no bucket.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from bulk_export.extract.journal import JournalStore
from bulk_export.output.run_log import (
    AWAY,
    COUNTS,
    MOST_BUCKETS,
    MOST_ENDPOINTS,
    MOST_HOLDS,
    MOST_LIMITS,
    MOST_STARTS,
    THROTTLED,
    TIMELINE,
    Bucket,
    Hold,
    InvalidRunLog,
    Timeline,
)
from bulk_export.progress.observer import WindowUse

# Seconds between two times that the timeline goes into the journal, at least; a bucket, if that is longer.
_INTERVAL = 2
_AT, _REQUESTS, _PAGES, _RECORDS, _THROTTLED, _RETRIES = range(6)
_USED = 1 + len(COUNTS)


def stored_timeline(store: JournalStore) -> Timeline | None:
    """Return the timeline that a journal holds, None if there is none. No export fails for its timeline."""
    text = store.fact(TIMELINE)
    try:
        return None if text is None else Timeline.parse(text)
    except InvalidRunLog:
        return None


class TimelineRecorder:
    """Counts what happens in an export, second by second.

    Args:
        before: The timeline of earlier runs of the export, None for the first one.
        now: Gives the seconds since the epoch.
        windows: Gives the use of the limits; called once a second at most.
    """

    def __init__(
        self, before: Timeline | None, now: Callable[[], float], windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        self._now = now
        self._windows = windows
        known = before or Timeline(int(now()))
        self._origin, self._width = known.origin, known.width
        self._limits: tuple[tuple[int, float], ...] = known.limits
        self._rows = [[row.at, *(getattr(row, name) for name in COUNTS), *row.used] for row in known.buckets]
        self._holds = list(known.holds)
        self._endpoints = {name: list(span) for name, span in known.endpoints.items()}
        self._second = -1
        self._row: list[int] = []
        self._noted = -_INTERVAL
        self._starts = [*known.starts[: MOST_STARTS - 1], self._turn()]

    @property
    def is_due(self) -> bool:
        """Whether the timeline should go into the journal again."""
        return self._second - self._noted >= max(_INTERVAL, self._width)

    def count_request(self) -> None:
        """Count a request that is about to be sent."""
        self._current()[_REQUESTS] += 1

    def count_retry(self) -> None:
        """Count a page that is to be requested again, since its request failed."""
        self._current()[_RETRIES] += 1

    def count_page(self, endpoint: str, records: int) -> None:
        """Count a page that arrived, with its records."""
        row = self._current()
        if records:
            row[_PAGES] += 1
            row[_RECORDS] += records
        span = self._endpoints.get(endpoint)
        if span is not None:
            span[1] = self._second
        elif len(self._endpoints) < MOST_ENDPOINTS:
            self._endpoints[endpoint] = [self._second, self._second]

    def add_hold(self, seconds: float, *, is_throttled: bool) -> None:
        """Record that nothing is sent for some seconds: after a 429, or because the service is away."""
        row = self._current()
        if is_throttled:
            row[_THROTTLED] += 1
        cause = THROTTLED if is_throttled else AWAY
        hold = Hold(self._second, max(0, round(seconds)), cause)
        last = self._holds[-1] if self._holds else None
        if last is not None and last.cause == cause and last.end >= hold.at:
            self._holds[-1] = Hold(last.at, max(last.end, hold.end) - last.at, cause)
        else:
            self._holds.append(hold)
        if len(self._holds) > MOST_HOLDS:
            self._holds = _with_fewest_lost(self._holds)

    def timeline(self) -> Timeline:
        """Return the timeline so far, which counts as stored."""
        self._noted = self._second
        return Timeline(
            origin=self._origin,
            width=self._width,
            starts=tuple(self._starts),
            limits=self._limits,
            buckets=tuple(Bucket.of(row[:_USED], row[_USED:]) for row in self._rows if any(row[1:])),
            holds=tuple(self._holds),
            endpoints={name: (first, last) for name, (first, last) in self._endpoints.items()},
        )

    def _current(self) -> list[int]:
        """Return the counts of this second's bucket."""
        if int(self._now()) - self._origin > self._second:
            self._turn()
        return self._row

    def _turn(self) -> int:
        """Begin a second, and return it. A clock that was set back stands still for us until it has caught up."""
        self._second = max(self._second, int(self._now()) - self._origin, self._rows[-1][_AT] if self._rows else 0)
        at = self._second - self._second % self._width
        if not self._rows or self._rows[-1][_AT] < at:
            self._rows.append([at, 0, 0, 0, 0, 0])
            while len(self._rows) > MOST_BUCKETS:
                self._width *= 2
                self._rows = _merged(self._rows, self._width)
        self._row = self._rows[-1]
        uses = self._windows()[:MOST_LIMITS]
        self._limits = tuple((use.limit, use.period) for use in uses)
        self._row[_USED:] = _larger(self._row[_USED:], [use.used for use in uses])
        return self._second


def _merged(rows: Iterable[list[int]], width: int) -> list[list[int]]:
    """Return rows of which each stands for `width` seconds."""
    merged: list[list[int]] = []
    for row in rows:
        at = row[_AT] - row[_AT] % width
        if merged and merged[-1][_AT] == at:
            before = merged[-1]
            before[1:_USED] = [a + b for a, b in zip(before[1:_USED], row[1:_USED], strict=True)]
            before[_USED:] = _larger(before[_USED:], row[_USED:])
        else:
            merged.append([at, *row[1:]])
    return merged


def _larger(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return the larger one of each two numbers; a resumed run may have another number of limits."""
    length = max(len(first), len(second))
    one, other = ([*numbers, *[0] * (length - len(numbers))] for numbers in (first, second))
    return [max(pair) for pair in zip(one, other, strict=True)]


def _with_fewest_lost(holds: Sequence[Hold]) -> list[Hold]:
    """Return one hold less: two neighbours become one, those with the least time between them."""
    gaps = [after.at - before.end for before, after in itertools.pairwise(holds)]
    at = gaps.index(min(gaps))
    first, second = holds[at : at + 2]
    return [*holds[:at], Hold(first.at, max(first.end, second.end) - first.at, first.cause), *holds[at + 2 :]]
