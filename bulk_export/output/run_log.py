"""When the requests of an export were sent: the file `run.jsonl` beside the manifest, and the value it holds.

A line is a JSON object with a `kind`. The first one, of kind `run`, says which export the others are of. They hold
counts and times: no record, no value of a filter, no id, no address and no token.

    {"tool": "bulk-export", "kind": "run", "format": 1, "started_at": …, "finished_at": …, "origin": …, "seconds": 1}
    {"kind": "limit", "requests": 1000, "period": 300.0}       of the service first, then of each source address
    {"kind": "start", "at": 0}                                 of a run; the second one resumed the first
    {"kind": "endpoint", "name": …, "from": 0, "to": 12}       when its pages arrived
    {"kind": "hold", "at": 31, "seconds": 30, "cause": …}      when nothing was sent
    {"kind": "bucket", "at": 7, "requests": 9, …, "used": [61, 61]}

The first line of a sample (`--limit`) also has `sample`, the most records of an endpoint. Times are seconds after
`origin`, which is in seconds since the epoch. A bucket counts what happened in `seconds`; there is none where nothing
did. `used` is the most that was used of each limit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from bulk_export.output.manifest import TOOL

FORMAT = 1
# The entry of a journal that holds the timeline.
TIMELINE = "timeline"
# The causes of a hold: a 429, and a service that cannot be reached or announced when it will be back.
THROTTLED, AWAY = "throttled", "away"
CAUSES = (THROTTLED, AWAY)
COUNTS = ("requests", "pages", "records", "throttled", "retries")

MOST_BUCKETS = 240
MOST_HOLDS = 60
MOST_STARTS = 60
MOST_ENDPOINTS = 200
# The limit of the service, and those of seven source addresses.
MOST_LIMITS = 8
LARGEST = 1 << 20
_MOST = 2**53


class InvalidRunLog(ValueError):
    """A text that no export wrote."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What happened in the seconds from `at` on.

    Attributes:
        at: Seconds after the origin of the timeline.
        requests: The requests that were sent.
        pages: The pages with records that arrived.
        records: The records on them.
        throttled: The requests that were answered with 429.
        retries: The requests that failed, and were to be repeated.
        used: The most that was used of each limit.
    """

    at: int
    requests: int = 0
    pages: int = 0
    records: int = 0
    throttled: int = 0
    retries: int = 0
    used: tuple[int, ...] = ()

    @classmethod
    def of(cls, numbers: Sequence[int], used: Iterable[int]) -> Self:
        """The bucket with these numbers, in the order of the attributes. Raises ValueError unless there are six."""
        at, requests, pages, records, throttled, retries = numbers
        return cls(at, requests, pages, records, throttled, retries, tuple(used))


@dataclass(frozen=True, slots=True)
class Hold:
    """Seconds in which nothing was sent, for one of `CAUSES`."""

    at: int
    seconds: int
    cause: str

    @property
    def end(self) -> int:
        """The second in which it was over."""
        return self.at + self.seconds


@dataclass(frozen=True, slots=True)
class Timeline:
    """When the requests of an export were sent, in all of its runs.

    Attributes:
        origin: When the first run started, in seconds since the epoch.
        width: The seconds of a bucket.
        starts: When each run started.
        limits: Requests and seconds of each limit, that of the service first.
        buckets: What happened, in order.
        holds: When nothing was sent, in order.
        endpoints: When the first and the last page of each endpoint arrived.
    """

    origin: int
    width: int = 1
    starts: tuple[int, ...] = ()
    limits: tuple[tuple[int, float], ...] = ()
    buckets: tuple[Bucket, ...] = ()
    holds: tuple[Hold, ...] = ()
    endpoints: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InvalidRunLog for more of anything than an export records."""
        found = (self.buckets, self.holds, self.starts, self.limits, self.endpoints)
        most = (MOST_BUCKETS, MOST_HOLDS, MOST_STARTS, MOST_LIMITS, MOST_ENDPOINTS)
        if any(len(values) > bound for values, bound in zip(found, most, strict=True)):
            raise InvalidRunLog("more than an export records")

    def total(self, name: str) -> int:
        """The sum of one of `COUNTS`."""
        return sum(getattr(bucket, name) for bucket in self.buckets)

    def text(self) -> str:
        """The timeline as a journal holds it."""
        return json.dumps(
            {
                "format": FORMAT,
                "origin": self.origin,
                "width": self.width,
                "starts": self.starts,
                "limits": self.limits,
                "buckets": [[row.at, *(getattr(row, name) for name in COUNTS), row.used] for row in self.buckets],
                "holds": [[hold.at, hold.seconds, hold.cause] for hold in self.holds],
                "endpoints": self.endpoints,
            },
            separators=(",", ":"),
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` returned. Raises InvalidRunLog."""
        try:
            value = json.loads(text)
            if value["format"] != FORMAT:
                raise InvalidRunLog("another format")
            return cls(
                origin=_count(value["origin"]),
                width=_count(value["width"], least=1),
                starts=tuple(map(_count, value["starts"])),
                limits=tuple((_count(requests), _seconds(period)) for requests, period in value["limits"]),
                buckets=tuple(
                    Bucket.of([_count(number) for number in numbers], map(_count, used))
                    for *numbers, used in value["buckets"]
                ),
                holds=tuple(Hold(_count(at), _count(seconds), _cause(cause)) for at, seconds, cause in value["holds"]),
                endpoints={str(name): (_count(a), _count(b)) for name, (a, b) in value["endpoints"].items()},
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            raise InvalidRunLog("no timeline of an export") from None


@dataclass(frozen=True, slots=True)
class RunLog:
    """A timeline, with the start and the end of the export as its manifest has them, and of how many records it is."""

    started_at: str
    finished_at: str
    timeline: Timeline
    sample: int | None = None

    def belongs_to(self, manifest: Mapping[str, Any]) -> bool:
        """Whether it is of the export with this manifest, and not of one that was replaced."""
        return (self.started_at, self.finished_at) == (manifest.get("started_at"), manifest.get("finished_at"))

    def lines(self) -> str:
        """The content of the file."""
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self._objects())

    def _objects(self) -> Iterator[dict[str, Any]]:
        timeline = self.timeline
        yield {
            "tool": TOOL,
            "kind": "run",
            "format": FORMAT,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "origin": timeline.origin,
            "seconds": timeline.width,
            **({} if self.sample is None else {"sample": self.sample}),
        }
        for requests, period in timeline.limits:
            yield {"kind": "limit", "requests": requests, "period": period}
        for at in timeline.starts:
            yield {"kind": "start", "at": at}
        for name, (first, last) in timeline.endpoints.items():
            yield {"kind": "endpoint", "name": name, "from": first, "to": last}
        for hold in timeline.holds:
            yield {"kind": "hold", "at": hold.at, "seconds": hold.seconds, "cause": hold.cause}
        for row in timeline.buckets:
            counts = {name: getattr(row, name) for name in COUNTS}
            yield {"kind": "bucket", "at": row.at, **counts, "used": list(row.used)}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the content of the file. Raises InvalidRunLog for one that no export wrote."""
        if len(text) > LARGEST:
            raise InvalidRunLog("far too long")
        try:
            head, *rest = map(json.loads, text.removesuffix("\n").split("\n"))
            if (head["tool"], head["kind"], head["format"]) != (TOOL, "run", FORMAT):
                raise InvalidRunLog("another tool's")
            kinds: dict[str, list[dict[str, Any]]] = {}
            for line in rest:
                kinds.setdefault(line["kind"], []).append(line)
            timeline = Timeline(
                origin=_count(head["origin"]),
                width=_count(head["seconds"], least=1),
                starts=tuple(_count(line["at"]) for line in kinds.get("start", ())),
                limits=tuple((_count(line["requests"]), _seconds(line["period"])) for line in kinds.get("limit", ())),
                buckets=tuple(map(_bucket, kinds.get("bucket", ()))),
                holds=tuple(
                    Hold(_count(line["at"]), _count(line["seconds"]), _cause(line["cause"]))
                    for line in kinds.get("hold", ())
                ),
                endpoints={
                    str(line["name"]): (_count(line["from"]), _count(line["to"])) for line in kinds.get("endpoint", ())
                },
            )
            sample = head.get("sample")
            return cls(
                str(head["started_at"]), str(head["finished_at"]), timeline, None if sample is None else _count(sample)
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            raise InvalidRunLog("no log of an export") from None


def is_run_log(first_bytes: bytes) -> bool:
    """Whether a file that begins so is one of ours, and may be replaced."""
    return first_bytes.startswith(b'{"tool": "%s", "kind": "run", ' % TOOL.encode())


def _bucket(line: Mapping[str, Any]) -> Bucket:
    return Bucket.of([_count(line[name]) for name in ("at", *COUNTS)], map(_count, line["used"]))


def _count(value: Any, least: int = 0) -> int:
    if type(value) is not int or not least <= value < _MOST:
        raise InvalidRunLog("no count")
    return value


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < _MOST:
        raise InvalidRunLog("no duration")
    return float(value)


def _cause(value: Any) -> str:
    if value not in CAUSES:
        raise InvalidRunLog("no cause of a hold")
    return str(value)
