"""The observer that makes events of what it is told, and gives them to a callback of the program.

The callback is called on the event loop and must return soon. An exception that it raises loses nothing: it is logged
with its traceback, a RuntimeWarning says so, the callback is not called again, and the run goes on to its end. To end a
run from a callback, set the event that was given as `stop`.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from bulk_export.progress import events
from bulk_export.progress.observer import ExportSummary, Observer, WindowUse
from bulk_export.progress.run_state import RunState
from bulk_export.progress.tally import Tally

logger = logging.getLogger(__name__)

# The least time between two events of a kind that may be frequent.
_INTERVAL = 0.5


class CallbackObserver(Observer):
    """Turns what happens into events.

    Args:
        callback: Is called with each event.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self, callback: Callable[[events.ProgressEvent], object], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._callback: Callable[[events.ProgressEvent], object] | None = callback
        self._now = now
        self._tally: Tally | None = None
        self._requests = self._retries = self._throttled = 0
        self._told: dict[type, float] = {}
        self._is_pending = False

    def started(
        self, endpoints: Sequence[str], output: Path | str | None, windows: Callable[[], Sequence[WindowUse]]
    ) -> None:
        """Begin to count."""
        self._tally = Tally(endpoints, windows, self._now)
        self._requests = self._retries = self._throttled = 0
        self._tell(events.RunStarted(tuple(endpoints), output))

    def running(self, state: Callable[[], RunState]) -> None:
        """Read what is left from now on."""
        if self._tally is not None:
            self._tally.read_from(state)

    def resumed(self, pages: int) -> None:
        """Tell it."""
        self._tell(events.RunResumed(pages))

    def resumed_endpoint(self, endpoint: str, pages: int, records: int, end: int | None) -> None:
        """Count the stored pages of an interrupted run."""
        if self._tally is not None:
            self._tally.add_resumed(endpoint, pages, records, end)
        self._changed()

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """Count the page."""
        if self._tally is not None:
            self._tally.add_page(endpoint, records)
        self._changed()

    def end_found(self, endpoint: str, pages: int) -> None:
        """Remember the number of pages, and tell it."""
        if self._tally is not None:
            self._tally.endpoints[endpoint].end = pages
        self._tell(events.EndFound(endpoint, pages))
        self._changed()

    def sweeping_again(self, endpoint: str, sweep: int) -> None:
        """Tell it."""
        self._tell(events.SweepStarted(endpoint, sweep))

    def request_sent(self, endpoint: str) -> None:
        """Count the request."""
        self._requests += 1
        self._changed()

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """Count the retry, and tell it now and then."""
        self._retries += 1
        self._tell_sometimes(events.RetryScheduled(endpoint, page, reason, delay))
        self._changed()

    def throttled(self, pause: float) -> None:
        """Count the 429, and tell it now and then."""
        self._throttled += 1
        self._tell_sometimes(events.Throttled(pause))
        self._changed()

    def unavailable(self, reason: str, pause: float) -> None:
        """Tell it."""
        if self._tally is not None:
            self._tally.away_for(pause)
        self._tell(events.ServiceUnavailable(reason, pause))

    def still_unavailable(self, failures: int, pause: float) -> None:
        """Remember until when nothing is sent."""
        if self._tally is not None:
            self._tally.away_for(pause)

    def available_again(self, failures: int) -> None:
        """Tell it."""
        self._tell(events.ServiceAvailable(failures))

    def outside_window(self, until: datetime) -> None:
        """Tell it."""
        self._tell(events.OutsideWindow(until))

    def warned(self, message: str) -> None:
        """Tell it."""
        self._tell(events.WarningIssued(message))

    def tick(self) -> None:
        """Tell how far the run is, since time has passed."""
        self._changed()

    def finished(self, summary: ExportSummary) -> None:
        """Tell it."""
        self._tell(events.RunFinished(summary))

    def closed(self) -> None:
        """Tell the last state, unless it was told."""
        if self._is_pending:
            self._tell_progress()
        self._tally = None

    def _changed(self) -> None:
        self._is_pending = True
        if self._now() - self._told.get(events.RunProgress, float("-inf")) >= _INTERVAL:
            self._tell_progress()

    def _tell_progress(self) -> None:
        tally = self._tally
        if tally is None:
            return
        self._is_pending = False
        self._told[events.RunProgress] = self._now()
        tally.refresh()
        self._tell(
            events.RunProgress(
                endpoints=tuple(
                    events.EndpointProgress(counts.name, counts.pages, counts.records, counts.end)
                    for counts in tally.endpoints.values()
                ),
                requests=self._requests,
                retries=self._retries,
                throttled=self._throttled,
                seconds=tally.elapsed,
                seconds_left=tally.seconds_left(),
                activity=tally.activity().word,
                limits=tuple(tally.windows),
            )
        )

    def _tell_sometimes(self, event: events.ProgressEvent) -> None:
        if self._now() - self._told.get(type(event), float("-inf")) >= _INTERVAL:
            self._told[type(event)] = self._now()
            self._tell(event)

    def _tell(self, event: events.ProgressEvent) -> None:
        if self._callback is None:
            return
        try:
            self._callback(event)
        except Exception as error:
            self._callback = None
            logger.exception("on_progress failed, and is not called again")
            warnings.warn(
                f"on_progress raised {type(error).__name__} and is not called again; the run goes on",
                RuntimeWarning,
                stacklevel=2,
            )
