"""Spans of a run: where they go, what they hold, and that a collector in trouble disturbs nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bulk_export.errors import BulkExportError, UsageError
from bulk_export.pipelines.export import export
from bulk_export.progress.spans import RunSpans
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, TOKEN, options, settings
from tests.support.ports import free_port
from tests.support.web_server import web_server

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collected() -> InMemorySpanExporter:
    """What a program collects that has its own tracer provider."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(collected: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Iterator[TracerProvider]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(collected))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield provider
    provider.shutdown()


@pytest.mark.usefixtures("provider")
async def test_run_endpoints_and_pages(
    tmp_path: Path, collected: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run holds its endpoints, and these their pages, each with its number and records, in the caller's trace."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "out", "statements", "participants-npq", otel=True))
    spans = collected.get_finished_spans()
    (run,) = [span for span in spans if span.name == "bulk-export export"]
    assert run.parent is not None
    assert f"{run.parent.span_id:016x}" == PARENT.split("-")[2]
    endpoints = {span.context.span_id: span for span in spans if span.name.startswith("endpoint ")}
    assert {span.parent.span_id for span in endpoints.values() if span.parent} == {run.context.span_id}
    assert {span.name: span.attributes["bulk_export.records"] for span in endpoints.values() if span.attributes} == {
        "endpoint statements": 37,
        "endpoint participants-npq": 900,
    }
    pages = [span for span in spans if span.name == "page" and "bulk_export.records" in (span.attributes or {})]
    records = {
        (endpoints[span.parent.span_id].name, span.attributes["bulk_export.page"]): span.attributes[
            "bulk_export.records"
        ]
        for span in pages
        if span.parent and span.attributes
    }
    assert records[("endpoint participants-npq", 3)] == 300
    assert sum(int(str(count)) for count in records.values()) == 937
    assert all(run.start_time <= span.start_time <= span.end_time <= run.end_time for span in spans)  # type: ignore[operator]


@pytest.mark.usefixtures("provider")
async def test_failure(tmp_path: Path, collected: InMemorySpanExporter) -> None:
    """The span of a run that failed says which kind of error it was, and ends."""
    async with serving(settings()) as service:
        with pytest.raises(BulkExportError):
            await export(options(service, tmp_path / "out", "statements", otel=True, token="another"), tuning=QUICK)
    (run,) = [span for span in collected.get_finished_spans() if span.name == "bulk-export export"]
    assert run.status.status_code is StatusCode.ERROR
    assert (run.attributes or {})["error.type"] == "ServiceRefused"


async def test_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a provider of the program's, spans go to the collector that the environment names, and hold no token."""
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(content_type="application/x-protobuf")

    async with serving(settings()) as service, web_server(answer) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        await export(options(service, tmp_path / "out", "statements", otel=True))
    received = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resources = [resource for request in received for resource in request.resource_spans]
    names = {span.name for resource in resources for scope in resource.scope_spans for span in scope.spans}
    assert {"bulk-export export", "endpoint statements", "page"} <= names
    attributes = {each.key: each.value.string_value for each in resources[0].resource.attributes}
    assert attributes["service.name"] == "bulk-export"
    assert all(TOKEN.encode() not in body for body in bodies)


async def test_no_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is whole although nobody takes its spans, and its end waits for a short while only."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    async with serving(settings()) as service:
        summary = await export(options(service, tmp_path / "out", "statements", otel=True))
    assert summary.endpoints[0].records == 37


def test_retries(provider: TracerProvider, collected: InMemorySpanExporter) -> None:
    """Retries are events of the page, waits those of the run, and pages without records end with their endpoint."""
    times = iter(range(1, 100))
    spans = RunSpans(provider.get_tracer("test"), "run", clock=lambda: next(times))
    spans.page_requested("a", 1, 1)
    spans.retrying("a", 1, "status 503", 0.5)
    spans.page_requested("a", 1, 2)
    spans.throttled(3.0)
    spans.unavailable("no route", 1.0)
    spans.available_again(2)
    spans.page_stored("a", 1, 7)
    spans.page_requested("a", 2, 1)
    spans.end()
    found = {
        (span.name, (span.attributes or {}).get("bulk_export.page")): span for span in collected.get_finished_spans()
    }
    page = found["page", 1]
    assert [event.name for event in page.events] == ["retrying"]
    assert dict(page.attributes or {}) == {
        "bulk_export.endpoint": "a",
        "bulk_export.page": 1,
        "bulk_export.attempts": 2,
        "bulk_export.records": 7,
    }
    assert [event.name for event in found["run", None].events] == ["throttled", "unavailable", "available again"]
    assert found["page", 2].end_time == found["endpoint a", None].end_time == found["page", 2].start_time


async def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages, the message names the extra."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    async with serving(settings()) as service:
        with pytest.raises(UsageError) as failure:
            await export(options(service, tmp_path / "out", "statements", otel=True))
    assert "pip install 'bulk-export[otel]'" in failure.value.next_step
