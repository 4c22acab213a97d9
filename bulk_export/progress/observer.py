"""What an export tells whoever watches it. The default watches nothing.

Methods are called on the event loop and must return at once. Names and counts only: no record contents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WindowUse:
    """How much of one limit is used now.

    `address` is None for the limit on the whole service. `next_free_in` is the number of seconds until
    a request may be sent under this limit, 0.0 when one may be sent now or as soon as an answer is here.
    """

    address: str | None
    limit: int
    period: float
    used: int
    next_free_in: float


@dataclass(frozen=True, slots=True)
class EndpointSummary:
    """One endpoint of a finished export. `bytes` is what its files take on disk.

    `consistent` says whether two sweeps agreed in the end, None where that was not asked for. Further sweeps found
    `recovered` records that the first had missed and `changed` ones; `gone` had vanished by the last. `shared_ids`
    counts records whose identity another record of the same answer has, too. With a `suspicious_end`, the list may go
    on behind its last page.
    """

    name: str
    records: int
    pages: int
    requests: int
    duplicates: int
    files: int
    bytes: int
    drift: Mapping[str, object]
    changed_during_export: bool = False
    consistent: bool | None = None
    recovered: int = 0
    changed: int = 0
    gone: int = 0
    shared_ids: int = 0
    suspicious_end: bool = False


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What a finished export amounts to. `seconds` is the wall time of this run, `server_clock_ahead` by how many
    seconds at least the service's clock is ahead of ours, None where it did not say; where that is far,
    `server_clock_answers` is how many answers agree on it."""

    output: Path
    endpoints: Sequence[EndpointSummary]
    requests: int
    retries: int
    throttled: int
    resumed: int
    seconds: float
    server_clock_ahead: float | None = None
    server_clock_answers: int | None = None


class Observer:
    """Receives the events of an export; subclass and override what is of interest."""

    def started(
        self, endpoints: Sequence[str], output: Path | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """The first request is about to be sent. `windows` may be called at any time until the end."""

    def resumed(self, pages: int) -> None:
        """`pages` pages of an interrupted run are there already and will not be requested again."""

    def resumed_endpoint(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Of those, `pages` pages with `records` records belong to `endpoint`; it has `end` pages if that is known."""

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """A page with `records` records is durable."""

    def end_found(self, endpoint: str, pages: int) -> None:
        """The endpoint is now known to have `pages` pages that hold records."""

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """The endpoint is read once more, for what the first time missed; `sweep` counts from 1."""

    def records_written(self, endpoint: str, records: int) -> None:
        """`records` more records have been converted and written."""

    def request_sent(self, endpoint: str) -> None:
        """One more request is on the wire."""

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """A request failed for `reason` and its page is asked for again after `delay` seconds."""

    def throttled(self, pause: float) -> None:
        """The service answered 429; nothing is sent for about `pause` seconds."""

    def unavailable(self, reason: str, pause: float) -> None:
        """The service is away for everybody, for a `reason`; nothing is sent for about `pause` seconds."""

    def still_unavailable(self, failures: int, pause: float) -> None:
        """It still is, for a reason that was told: `failures` attempts to connect have failed in a row."""

    def available_again(self, failures: int) -> None:
        """The service answers, after `failures` failed attempts to connect."""

    def outside_window(self, until: datetime) -> None:
        """Nothing is sent before `until`, when the window of the run opens."""

    def warned(self, message: str) -> None:
        """Something the user should know that stops nothing."""

    def tick(self) -> None:
        """About a second has passed."""

    def finished(self, summary: ExportSummary) -> None:
        """The manifest is in place."""

    def closed(self) -> None:
        """The run is over, however it ended."""
