"""Spans of a run for OpenTelemetry: the run, each endpoint, and each page from its first request until it is stored.

Spans name endpoints, and carry numbers of pages, of records and of attempts, and the reasons of retries; never a
record, an id or a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bulk_export.progress.observer import ExportSummary, Observer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

_PREFIX = "bulk_export."


class RunSpans(Observer):
    """Makes the spans of a run from its events.

    Args:
        tracer: Starts spans.
        name: The name of the span of the run: `bulk-export export`.
        parent: The context of the span that the run is part of; None for none.
        clock: Nanoseconds since the epoch.
    """

    def __init__(
        self, tracer: Tracer, name: str, parent: Context | None = None, clock: Callable[[], int] = time.time_ns
    ) -> None:
        from opentelemetry.trace import set_span_in_context  # wanted by few runs, and in an extra

        self._tracer = tracer
        self._clock = clock
        self._in_context = set_span_in_context
        self._run = tracer.start_span(name, parent, start_time=clock())
        self._endpoints: dict[str, Span] = {}
        self._last: dict[str, int] = {}
        # Pages on their way: no more than there are workers, and those that turned out to be behind the end.
        self._pages: dict[tuple[str, int], Span] = {}

    def page_requested(self, endpoint: str, page: int, attempt: int) -> None:
        """Open the span of a page with its first request, and note further ones in it."""
        now = self._note(endpoint)
        span = self._pages.get((endpoint, page))
        if span is not None:
            span.set_attribute(f"{_PREFIX}attempts", attempt)
            return
        attributes: dict[str, str | int] = {f"{_PREFIX}endpoint": endpoint, f"{_PREFIX}page": page}
        context = self._in_context(self._endpoint(endpoint, now))
        self._pages[endpoint, page] = self._tracer.start_span("page", context, attributes=attributes, start_time=now)

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        """End the span of a page."""
        now = self._note(endpoint)
        span = self._pages.pop((endpoint, page), None)
        if span is not None:
            span.set_attribute(f"{_PREFIX}records", records)
            span.end(now)

    def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
        """Note a failed request in the span of its page."""
        span = self._pages.get((endpoint, page))
        if span is not None:
            span.add_event("retrying", {f"{_PREFIX}reason": reason, f"{_PREFIX}delay": delay}, self._note(endpoint))

    def throttled(self, pause: float) -> None:
        """Note a response 429 in the span of the run."""
        self._run.add_event("throttled", {f"{_PREFIX}pause": pause}, self._clock())

    def unavailable(self, reason: str, pause: float) -> None:
        """Note the beginning of an outage in the span of the run."""
        self._run.add_event("unavailable", {f"{_PREFIX}reason": reason, f"{_PREFIX}pause": pause}, self._clock())

    def available_again(self, failures: int) -> None:
        """Note the end of an outage in the span of the run."""
        self._run.add_event("available again", {f"{_PREFIX}failures": failures}, self._clock())

    def finished(self, summary: ExportSummary) -> None:
        """Add the numbers of an export to the spans of its endpoints."""
        for endpoint in summary.endpoints:
            span = self._endpoints.get(endpoint.name)
            if span is not None:
                span.set_attribute(f"{_PREFIX}records", endpoint.records)
                span.set_attribute(f"{_PREFIX}requests", endpoint.requests)

    def end(self, error: BaseException | None = None) -> None:
        """End all spans; with `error`, that of the run says which kind of error ended it."""
        from opentelemetry.trace import StatusCode  # wanted by few runs, and in an extra

        # 1. Pages that were asked for and held nothing: behind the end of the list, or the run ended before.
        for (endpoint, _), span in self._pages.items():
            span.end(self._last[endpoint])
        # 2. Endpoints end with their last event.
        for endpoint, span in self._endpoints.items():
            span.end(self._last[endpoint])
        if error is not None:
            self._run.set_attribute("error.type", type(error).__name__)
            self._run.set_status(StatusCode.ERROR)
        self._run.end(self._clock())

    def _note(self, endpoint: str) -> int:
        now = self._last[endpoint] = self._clock()
        return now

    def _endpoint(self, name: str, now: int) -> Span:
        span = self._endpoints.get(name)
        if span is None:
            span = self._tracer.start_span(
                f"endpoint {name}",
                self._in_context(self._run),
                attributes={f"{_PREFIX}endpoint": name},
                start_time=now,
            )
            self._endpoints[name] = span
        return span
