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
        UsageError: The packages for it are not installed, or its variables cannot be used.
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
            lost = await anyio.to_thread.run_sync(close)
        if lost is not None:
            observer.not_delivered(lost)


def parent_context(environ: Mapping[str, str]) -> Context | None:
    """The span that this process is part of, as a scheduler names it in `TRACEPARENT` (W3C Trace Context)."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = environ.get("TRACEPARENT")
    if parent is None:
        return None
    return TraceContextTextMapPropagator().extract({"traceparent": parent, "tracestate": environ.get("TRACESTATE", "")})


def _open_tracer() -> tuple[Tracer, Callable[[], str | None]]:
    """The tracer, and what sends its last spans at the end of the run and returns a warning if some were lost."""
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider

        from bulk_export.pipelines.span_delivery import QuietLibraries, SpanDelivery
    except ImportError:
        raise UsageError(
            "--otel needs the packages of OpenTelemetry.", next_step="Run: pip install 'bulk-export[otel]'"
        ) from None
    current = trace.get_tracer_provider()
    if not isinstance(current, trace.ProxyTracerProvider):
        return current.get_tracer("bulk_export", __version__), lambda: None
    libraries = QuietLibraries()
    try:
        with libraries.here():
            # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
            resource = Resource.create({SERVICE_NAME: _NAME}).merge(OTELResourceDetector().detect())
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        delivery = SpanDelivery(libraries)
    except Exception as error:  # noqa: BLE001 - the library raises many kinds for variables that it cannot use
        libraries.close()
        raise UsageError(
            f"--otel cannot be set up as the variables OTEL_* say ({type(error).__name__}).",
            next_step="Correct them, or leave --otel out.",
        ) from None
    provider.add_span_processor(delivery)
    return provider.get_tracer("bulk_export", __version__), delivery.end
