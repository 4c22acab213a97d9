"""The events of a run as values, for a callback: what an observer is told, at a rate that a program can bear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bulk_export.progress.observer import ExportSummary, WindowUse


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """The base of all events."""


@dataclass(frozen=True, slots=True)
class RunStarted(ProgressEvent):
    """The first request is about to be sent.

    Attributes:
        endpoints: The endpoints.
        output: Where the result goes, None for a stream.
    """

    endpoints: tuple[str, ...]
    output: Path | str | None


@dataclass(frozen=True, slots=True)
class RunResumed(ProgressEvent):
    """`pages` pages of an interrupted run are stored already and are not requested again."""

    pages: int


@dataclass(frozen=True, slots=True)
class EndpointProgress:
    """What is stored of one endpoint.

    Attributes:
        name: The endpoint.
        pages: The pages with records, those of interrupted runs included.
        records: Their records.
        end: How many such pages there are; None while that is unknown.
    """

    name: str
    pages: int
    records: int
    end: int | None


@dataclass(frozen=True, slots=True)
class RunProgress(ProgressEvent):
    """The state of a run: at most twice a second, and once more at its end.

    Attributes:
        endpoints: What is stored of each endpoint.
        requests: The requests of this run.
        retries: The requests that failed and are repeated.
        throttled: How often the service answered with status 429.
        seconds: The time since the start of this run.
        seconds_left: The time that the remaining pages take under the limits, as far as it is known.
        activity: What the run does: `counting`, `fetching`, `waiting` for a permit, `throttled` by a 429, `re-reading`,
            `writing`, `away` while the service is, or `outside-window`.
        limits: The use of each limit.
    """

    endpoints: tuple[EndpointProgress, ...]
    requests: int
    retries: int
    throttled: int
    seconds: float
    seconds_left: float | None
    activity: str
    limits: tuple[WindowUse, ...]

    @property
    def pages(self) -> int:
        """The stored pages of all endpoints."""
        return sum(endpoint.pages for endpoint in self.endpoints)

    @property
    def records(self) -> int:
        """The stored records of all endpoints."""
        return sum(endpoint.records for endpoint in self.endpoints)

    @property
    def end(self) -> int | None:
        """How many pages there are in all; None while the end of an endpoint is unknown."""
        ends = [endpoint.end for endpoint in self.endpoints if endpoint.end is not None]
        return sum(ends) if len(ends) == len(self.endpoints) else None


@dataclass(frozen=True, slots=True)
class EndFound(ProgressEvent):
    """The end of `endpoint` is known: `pages` pages have records."""

    endpoint: str
    pages: int


@dataclass(frozen=True, slots=True)
class SweepStarted(ProgressEvent):
    """`endpoint` is read again for records that were missed; `sweep` counts from 1."""

    endpoint: str
    sweep: int


@dataclass(frozen=True, slots=True)
class RetryScheduled(ProgressEvent):
    """A request failed for a `reason`, and its page is requested again after `delay` seconds.

    Of several within half a second only the first is an event; `RunProgress` counts all.
    """

    endpoint: str
    page: int
    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class Throttled(ProgressEvent):
    """The service answered 429; nothing is sent for about `pause` seconds. Limited as `RetryScheduled`."""

    pause: float


@dataclass(frozen=True, slots=True)
class ServiceUnavailable(ProgressEvent):
    """The service cannot be reached, for a `reason`; nothing is sent for about `pause` seconds."""

    reason: str
    pause: float


@dataclass(frozen=True, slots=True)
class ServiceAvailable(ProgressEvent):
    """The service can be reached again, after `failures` failed attempts."""

    failures: int


@dataclass(frozen=True, slots=True)
class OutsideWindow(ProgressEvent):
    """Nothing is sent before `until`, when the daily window opens."""

    until: datetime


@dataclass(frozen=True, slots=True)
class WarningIssued(ProgressEvent):
    """The user should know the `message`; the run goes on. Each one is an event."""

    message: str


@dataclass(frozen=True, slots=True)
class RunFinished(ProgressEvent):
    """The manifest is in place. `summary` is what the function returns."""

    summary: ExportSummary
