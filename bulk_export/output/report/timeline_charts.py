"""The timeline of an export as charts: requests, pages and records over time, and the use of each limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from bulk_export.core.text import counted
from bulk_export.core.units import format_duration
from bulk_export.output.report.charts import round_top
from bulk_export.output.report.model import Band, Chart, Name, Number, Series, Span, Table
from bulk_export.output.run_log import COUNTS, THROTTLED, Bucket, Timeline

# Limits that have a chart of their own; the table of numbers has all.
_MOST_CHARTS = 4
_MOST_ROWS = 24
# The part of a chart that stands for time between two runs, and the most that all of these may take.
_GAP, _MOST_GAPS = 0.03, 0.3
_MARKED = "answered 429"
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class TimeScale:
    """Where a second stands in a chart: runs one after the other, and a fixed gap between two of them.

    Attributes:
        runs: First and last second of each run.
        origin: The second 0, since the epoch.
    """

    runs: tuple[tuple[int, int], ...]
    origin: int

    @classmethod
    def of(cls, timeline: Timeline) -> TimeScale:
        """The scale of a timeline. Runs that follow each other at once become one."""
        starts = sorted(set(timeline.starts)) or [0]
        ends = [row.at + timeline.width for row in timeline.buckets] + [hold.end for hold in timeline.holds]
        last = max([*ends, starts[-1] + 1])
        usual = max(10, (last - starts[0]) // 100)
        runs: list[tuple[int, int]] = []
        for start, following in zip(starts, [*starts[1:], last + 1], strict=True):
            inside = [end for end in ends if start < end and end - timeline.width < following]
            end = min(max([*inside, start + 1]), max(following, start + 1))
            if runs and start - runs[-1][1] <= usual:
                runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
            else:
                runs.append((start, end))
        return cls(tuple(runs), timeline.origin)

    @property
    def seconds(self) -> int:
        """The seconds of all runs."""
        return sum(last - first for first, last in self.runs)

    def at(self, second: float) -> float:
        """The position of a second, from 0 to 1."""
        gap = self._gap
        share = (1 - gap * (len(self.runs) - 1)) / max(1, self.seconds)
        position = 0.0
        for number, (first, last) in enumerate(self.runs):
            if second < first:
                return max(0.0, position - gap * (number > 0))
            if second <= last:
                return position + (second - first) * share
            position += (last - first) * share + gap
        return 1.0

    def gaps(self) -> Iterator[Band]:
        """The time between runs, which is left out."""
        for _, last in self.runs[:-1]:
            first = self.at(last)
            yield Band(first, first + self._gap, "break")

    def labels(self) -> list[str]:
        """Begin, middle and end, in UTC."""
        first, last = self.runs[0][0], self.runs[-1][1]
        middle = [(first + last) // 2] if len(self.runs) == 1 and last - first > 3 else []
        return [self.text(second) for second in (first, *middle, last)]

    def text(self, second: int) -> str:
        """A second in UTC, with the day if there are several."""
        try:
            moment = datetime.fromtimestamp(self.origin, UTC) + timedelta(seconds=second)
        except (OverflowError, ValueError, OSError):
            return f"{second:,} s"
        is_long = self.runs[-1][1] - self.runs[0][0] > _DAY
        return f"{moment:%d %b %H:%M}" if is_long else f"{moment:%H:%M:%S}"

    @property
    def _gap(self) -> float:
        return min(_GAP, _MOST_GAPS / max(1, len(self.runs) - 1))


def request_charts(timeline: Timeline) -> list[Chart]:
    """Requests, pages and records over time."""
    scale = TimeScale.of(timeline)
    width = timeline.width
    spans = [(scale.at(row.at), scale.at(row.at + width)) for row in timeline.buckets]
    requests, retries = timeline.total("requests"), timeline.total("retries")
    failed = [min(row.retries, row.requests) for row in timeline.buckets]
    # Most often nothing fails, and a legend for that would only be in the way.
    repeated = [_bars("failed and repeated", 3, spans, failed, width)] if any(failed) else []
    sent = [row.requests - part for row, part in zip(timeline.buckets, failed, strict=True)]
    pages = [row.pages for row in timeline.buckets]
    arrived, points = 0, []
    for number, row in enumerate(timeline.buckets):
        arrived += row.records
        end = spans[number + 1][0] if number + 1 < len(spans) else spans[number][1]
        points.append((spans[number][0], end, float(arrived)))
    highest = max((row.requests / width for row in timeline.buckets), default=0.0)
    throttled = timeline.total("throttled")
    times, bands = scale.labels(), [*_holds(timeline, scale), *scale.gaps()]
    return [
        Chart(
            title="Requests per second",
            description=(
                f"{counted(requests, 'request')} in {format_duration(scale.seconds)}, at most {highest:.3g} a second;"
                f" {retries:,} failed and were repeated, {throttled:,} were answered with 429."
            ),
            top=round_top(highest),
            series=[_bars("sent", 1, spans, sent, width), *repeated],
            marks=_marks(timeline, scale),
            mark_name=_MARKED,
            numbers=_numbers(timeline, scale),
            times=times,
            bands=bands,
        ),
        Chart(
            title="Pages per second",
            description=f"{counted(sum(pages), 'page')} with records arrived.",
            top=round_top(max(pages, default=0) / width),
            series=[_bars("arrived", 2, spans, pages, width)],
            times=times,
            bands=bands,
        ),
        Chart(
            title="Records so far",
            description=f"{counted(arrived, 'record')} arrived, those that were read again included.",
            top=round_top(arrived),
            series=[Series("arrived", 2, points, is_line=True)],
            times=times,
            bands=bands,
        ),
    ]


def limit_charts(timeline: Timeline) -> list[Chart]:
    """The use of each limit over time, with 429s and holds."""
    scale = TimeScale.of(timeline)
    charts = []
    for number, (limit, period) in enumerate(timeline.limits[:_MOST_CHARTS]):
        most = max((row.used[number] for row in timeline.buckets if number < len(row.used)), default=0)
        name = "the service" if number == 0 else _address(number, len(timeline.limits))
        charts.append(
            Chart(
                title=f"Use of the limit of {name}: {counted(limit, 'request')} in {format_duration(period)}",
                description=f"At most {most:,} of {counted(limit, 'request')} were used, by everybody who shares the"
                " limit.",
                top=float(max(limit, most, 1)),
                times=scale.labels(),
                series=[Series("used", 1 if number == 0 else 4, _use(timeline, scale, number, period), is_line=True)],
                bands=[*_holds(timeline, scale), *scale.gaps()],
                marks=_marks(timeline, scale),
                mark_name=_MARKED,
            )
        )
    return charts


def endpoint_table(timeline: Timeline, most: int) -> Table | None:
    """When each endpoint was read, for `most` of them; None if that is not known."""
    if not timeline.endpoints:
        return None
    scale = TimeScale.of(timeline)
    rows = [
        (Name(name), Span(scale.at(first), scale.at(last + 1), f"{scale.text(first)} to {scale.text(last)}"))
        for name, (first, last) in list(timeline.endpoints.items())[:most]
    ]
    return Table("When each list was read", ("List", "Time (UTC)"), rows)


def holds_text(timeline: Timeline) -> str:
    """For how long nothing was sent, in a sentence; empty if there was no hold."""
    texts = []
    for cause, because in ((THROTTLED, "after a 429"), ("away", "because the service was away")):
        seconds = [hold.seconds for hold in timeline.holds if hold.cause == cause]
        if seconds:
            texts.append(f"{format_duration(sum(seconds))} {because}")
    return f"Nothing was sent for {' and '.join(texts)}." if texts else ""


def _bars(name: str, tone: int, spans: Sequence[tuple[float, float]], counts: Sequence[int], width: int) -> Series:
    points = [(first, last, count / width) for (first, last), count in zip(spans, counts, strict=True)]
    return Series(name, tone, points)


def _use(timeline: Timeline, scale: TimeScale, number: int, period: float) -> list[tuple[float, float, float]]:
    """The use of a limit. It stays as it was seen last until a request is sent again, or the window is over."""
    rows = [row for row in timeline.buckets if number < len(row.used)]
    points = []
    for row, after in zip_longest(rows, rows[1:]):
        end = row.at + timeline.width
        if after is not None:
            end = max(end, min(after.at, int(end + period)))
        points.append((scale.at(row.at), scale.at(end), float(row.used[number])))
    return points


def _holds(timeline: Timeline, scale: TimeScale) -> Iterator[Band]:
    for hold in timeline.holds:
        yield Band(scale.at(hold.at), scale.at(hold.end), "hold" if hold.cause == THROTTLED else "away")


def _marks(timeline: Timeline, scale: TimeScale) -> list[float]:
    return [scale.at(row.at + timeline.width / 2) for row in timeline.buckets if row.throttled]


def _address(number: int, limits: int) -> str:
    return "this machine's address" if limits == 2 else f"source address {number}"


def _numbers(timeline: Timeline, scale: TimeScale) -> Table:
    """All buckets in a few rows."""
    size = max(1, -(-len(timeline.buckets) // _MOST_ROWS))
    groups = [timeline.buckets[at : at + size] for at in range(0, len(timeline.buckets), size)]
    limits = len(timeline.limits)
    used = ["Service limit used", *(f"Limit of address {number} used" for number in range(1, limits))][:limits]
    return Table(
        "What happened when (UTC)",
        ("From", "Requests", "Pages", "Records", "429s", "Repeated", *used),
        [
            (
                scale.text(group[0].at),
                *(Number(sum(getattr(row, name) for row in group)) for name in COUNTS),
                *(Number(_most_used(group, number)) for number in range(limits)),
            )
            for group in groups
        ],
    )


def _most_used(group: Sequence[Bucket], number: int) -> int | None:
    return max((row.used[number] for row in group if number < len(row.used)), default=None)
