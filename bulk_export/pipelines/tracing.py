"""Tracing of a run (`--otel`): where its spans go.

In a program that has set a tracer provider, spans go there. On the command line, where there is none, they are sent by
OTLP over HTTP, to where the standard variables of the OpenTelemetry SDK say (`OTEL_EXPORTER_OTLP_ENDPOINT` and others).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bulk_export.core.version import __version__
from bulk_export.errors import UsageError
from bulk_export.progress.observer import Observer
from bulk_export.progress.several import SeveralObservers
from bulk_export.progress.spans import RunSpans

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

_NAME = "bulk-export"
_TIMEOUT_VARIABLES = {"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"}
# Seconds for a batch of spans to be sent, retries included: a collector that does not answer must not hold the end of
# a run. OTEL_EXPORTER_OTLP_TIMEOUT takes its place.
_TIMEOUT = 3.0


@asynccontextmanager
async def traced(command: str, observer: Observer, *, enabled: bool) -> AsyncIterator[Observer]:
    """Trace what runs inside, if that is `enabled`.

    Args:
        command: The command, which names the span of the run.
        observer: The observer of the run.
        enabled: Whether to trace.

    Yields:
        The observer that the run has to notify.

    Raises:
        UsageError: The packages for it are not installed.
    """
    if not enabled:
        yield observer
        return
    tracer, close = await anyio.to_thread.run_sync(_open_tracer)
    spans = RunSpans(tracer, f"{_NAME} {command}", parent_context(os.environ))
    try:
        yield SeveralObservers(observer, spans)
    except BaseException as error:
        spans.end(error)
        raise
    else:
        spans.end()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close)


def parent_context(environ: Mapping[str, str]) -> Context | None:
    """The span that this process is part of, as a scheduler names it in `TRACEPARENT` (W3C Trace Context)."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = environ.get("TRACEPARENT")
    if parent is None:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": parent, "tracestate": environ.get("TRACESTATE", "")})


def _open_tracer() -> tuple[Tracer, Callable[[], None]]:
    """The tracer, and what sends its last spans at the end of the run."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise UsageError(
            "--otel needs the packages of OpenTelemetry.", next_step="Run: pip install 'bulk-export[otel]'"
        ) from None
    current = trace.get_tracer_provider()
    if not isinstance(current, trace.ProxyTracerProvider):
        return current.get_tracer("bulk_export", __version__), lambda: None
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource = Resource.create({SERVICE_NAME: _NAME}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(timeout=None if _TIMEOUT_VARIABLES & os.environ.keys() else _TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(exporter))

    def close() -> None:
        provider.force_flush()
        # A collector that did not take these would not take them now.
        exporter.shutdown()  # type: ignore[no-untyped-call]
        provider.shutdown()

    return provider.get_tracer("bulk_export", __version__), close
