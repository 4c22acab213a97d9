"""Delivers the spans of a run to a collector, and keeps to itself what its libraries log when that fails.

Their lines would stand between ours, also where those are JSON or where only errors are wanted. So they are hidden,
only in the threads that deliver for us and only while these do, and one warning at the end says what was lost.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bulk_export.core.masking import without_passwords

logger = logging.getLogger(__name__)

# The libraries that take part in a delivery.
_LIBRARIES = ("opentelemetry", "requests", "urllib3")
_TIMEOUT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_ADDRESS_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DEFAULT_ADDRESS = "http://localhost:4318"
# Seconds for a batch of spans to be sent, retries included: a collector that does not answer must not hold the end of
# a run. OTEL_EXPORTER_OTLP_TIMEOUT takes its place, up to the longest one.
_TIMEOUT, _LONGEST_TIMEOUT = 3.0, 60.0


class QuietLibraries(logging.Filter):
    """Hides what the libraries log inside `here`; as a filter of their loggers, it sees that and nothing else.

    `close` takes the filters away.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.local()
        known = logging.root.manager.loggerDict
        names = [name for name in tuple(known) if name.partition(".")[0] in _LIBRARIES]
        self._loggers = [logging.getLogger(name) for name in names]
        for each in self._loggers:
            each.addFilter(self)

    def close(self) -> None:
        """Leave the loggers as they were."""
        for each in self._loggers:
            each.removeFilter(self)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Hide what this thread logs inside."""
        before = getattr(self._thread, "is_hidden", False)
        self._thread.is_hidden = True
        try:
            yield
        finally:
            self._thread.is_hidden = before

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is not of a delivery of ours; one that is goes to our own log, for `--debug`."""
        if not getattr(self._thread, "is_hidden", False):
            return True
        if logger.isEnabledFor(logging.DEBUG):
            with self.here():
                logger.debug("%s: %s", record.name, record.getMessage())
        return False


class SpanDelivery(BatchSpanProcessor):
    """Sends spans in batches, and counts those that arrived.

    Args:
        libraries: Hides what the libraries log.
        environ: The variables of the OpenTelemetry SDK.

    Raises:
        ValueError: One of them cannot be used.
    """

    def __init__(self, libraries: QuietLibraries, environ: Mapping[str, str] = os.environ) -> None:
        self._libraries = libraries
        self._ended = 0
        self._address = next(filter(None, map(environ.get, _ADDRESS_VARIABLES)), _DEFAULT_ADDRESS)
        timeout = _timeout(environ)
        with libraries.here():
            self._exporter = _Exporter(OTLPSpanExporter(timeout=timeout), libraries)
            super().__init__(self._exporter)
        # The batch that is on its way, and one more. What comes after one that failed is not tried.
        self._patience = 2 * timeout + 1

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span for the next batch."""
        if span.context and span.context.trace_flags.sampled:
            self._ended += 1
        with self._libraries.here():  # it says so if too many wait
            super().on_end(span)

    def end(self) -> str | None:
        """Send the last spans, for a bounded time whatever the collector does. Blocking.

        Returns:
            A warning if spans were lost.
        """
        self._exporter.is_ending = True
        # A collector that sends an answer byte by byte outlasts every timeout of a socket.
        last = threading.Thread(target=self._send_last, name="last spans", daemon=True)
        last.start()
        last.join(self._patience)
        lost, ended = self._ended - self._exporter.delivered, self._ended
        if not last.is_alive():
            self._libraries.close()
        if not lost:
            return None
        some, none = (
            f"{lost} of {ended} spans of this run did not reach",
            f"None of the {ended} spans of this run reached",
        )
        return (
            f"{some if lost < ended else none} a collector at {without_passwords(self._address)}."
            " OTEL_EXPORTER_OTLP_ENDPOINT names another one; nothing else is affected."
        )

    def _send_last(self) -> None:
        with self._libraries.here():
            self.force_flush()
            self.shutdown()  # type: ignore[no-untyped-call]  # the library does not say


class _Exporter(SpanExporter):
    """Exports as another one does, counts the spans that arrived, and gives up at the end once a batch failed."""

    def __init__(self, exporter: SpanExporter, libraries: QuietLibraries) -> None:
        self._exporter = exporter
        self._libraries = libraries
        self.delivered = 0
        self.is_ending = False
        self._has_given_up = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._has_given_up:
            return SpanExportResult.FAILURE
        with self._libraries.here():
            try:
                result = self._exporter.export(spans)
            except Exception as error:  # noqa: BLE001 - whatever the library raises, the run goes on
                logger.debug("A batch of spans was not sent: %s", type(error).__name__)
                result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.delivered += len(spans)
        elif self.is_ending:
            self._has_given_up = True
        return result

    def shutdown(self) -> None:
        with self._libraries.here():
            self._exporter.shutdown()


def _timeout(environ: Mapping[str, str]) -> float:
    for text in filter(None, map(environ.get, _TIMEOUT_VARIABLES)):
        try:
            seconds = float(text)
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds > 0:
            return min(seconds, _LONGEST_TIMEOUT)
    return _TIMEOUT
