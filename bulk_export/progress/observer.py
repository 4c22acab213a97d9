"""The events of an export, and its result in numbers.

Observers get names and counts only, never the contents of records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bulk_export.progress.run_state import RunState


@dataclass(frozen=True, slots=True)
class WindowUse:
    """The current use of one limit.

    Attributes:
        address: The source address that the limit is for, None for the limit of the service.
        limit: The most requests in a window.
        period: The length of the window in seconds.
        used: The requests in the current window.
        next_free_in: Seconds until the limit allows a request; 0.0 if it allows one now, or once a response arrives.
    """

    address: str | None
    limit: int
    period: float
    used: int
    next_free_in: float


@dataclass(frozen=True, slots=True)
class EndpointSummary:
    """The result of one endpoint of a finished export.

    Attributes:
        name: The endpoint.
        records: The records that were written.
        pages: The pages with records.
        requests: The requests that were sent, by interrupted runs, too.
        duplicates: The records that were on more than one page, and written once.
        files: The part files.
        bytes: The size of the part files.
        drift: What the description does not cover: counts by field name in `unknown` and `misfits`.
        changed_during_export: Whether there are signs that the data changed during the export.
        consistent: Whether two sweeps agreed in the end, None without further sweeps.
        recovered: The records that the first sweep missed and a further one found.
        changed: The records that further sweeps saw in another version.
        gone: The records that had vanished by the last sweep.
        shared_ids: The records whose identity another record of the same response has, too.
        suspicious_end: Whether the list may go on behind its last page.
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
    """The result of a finished export.

    Attributes:
        output: The output directory, or the address of an export that is in an object store only.
        endpoints: The results of the endpoints.
        requests: The requests that were sent, by interrupted runs, too.
        retries: The requests that failed and were repeated.
        throttled: The requests that the service answered with status 429.
        resumed: How often an interrupted run was resumed.
        seconds: The duration of this run.
        server_clock_ahead: A lower bound of the seconds by which the service's clock is ahead of ours, None if it sent
            no valid time.
        server_clock_answers: How many responses agree on that, if it is far.
        advice: How the next export could be faster, as a clause; empty if there is nothing to say.
        sample: The most records of an endpoint, if it is a sample (`--limit`); None for all.
    """

    output: Path | str
    endpoints: Sequence[EndpointSummary]
    requests: int
    retries: int
    throttled: int
    resumed: int
    seconds: float
    server_clock_ahead: float | None = None
    server_clock_answers: int | None = None
    advice: str = ""
    sample: int | None = None


class Observer:
    """Receives the events of an export and does nothing: subclass it, and override the events of interest.

    Methods are called on the event loop and must return at once. What one raises ends the run, from which it comes in
    an ExceptionGroup; the same call goes on. The callback `on_progress` may raise without that.
    """

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """The first request is about to be sent. `windows` gives the use of the limits, at any time until the end."""

    def running(self, state: Callable[[], RunState]) -> None:
        """Pages are fetched from now on. `state` gives what the run does and what is left, at any time until the end.

        It takes about a millisecond, so call it once a second at most, and on the event loop.
        """

    def resumed(self, pages: int) -> None:
        """`pages` pages of an interrupted run are stored already and are not requested again."""

    def resumed_endpoint(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Of those, `pages` pages with `records` records belong to `endpoint`; it has `end` pages if that is known."""

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """A page with `records` records is stored durably."""

    def end_found(self, endpoint: str, pages: int) -> None:
        """The end of the endpoint is known: `pages` pages have records."""

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """The endpoint is read again for records that were missed; `sweep` counts from 1."""

    def records_written(self, endpoint: str, records: int) -> None:
        """`records` more records have been converted and written."""

    def request_sent(self, endpoint: str) -> None:
        """A request was sent."""

    def page_requested(self, endpoint: str, page: int, attempt: int) -> None:
        """A request for a page was sent, the `attempt`-th in a row."""

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """A request failed for a `reason`, and its page is requested again after `delay` seconds."""

    def throttled(self, pause: float) -> None:
        """The service answered 429; nothing is sent for about `pause` seconds."""

    def unavailable(self, reason: str, pause: float) -> None:
        """The service cannot be reached, for a `reason`; nothing is sent for about `pause` seconds."""

    def still_unavailable(self, failures: int, pause: float) -> None:
        """The service still cannot be reached for the same reason, after `failures` failed attempts in a row."""

    def available_again(self, failures: int) -> None:
        """The service can be reached again, after `failures` failed attempts."""

    def outside_window(self, until: datetime) -> None:
        """Nothing is sent before `until`, when the daily window opens."""

    def warned(self, message: str) -> None:
        """The user should know the message; the export goes on."""

    def not_delivered(self, message: str) -> None:
        """Another system did not learn of the run, which goes on. A warning, unless an observer leaves these out."""
        self.warned(message)

    def tick(self) -> None:
        """About a second has passed."""

    def finished(self, summary: ExportSummary) -> None:
        """The manifest is in place."""

    def closed(self) -> None:
        """The run is over, however it ended."""
