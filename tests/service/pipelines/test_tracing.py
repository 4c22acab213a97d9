"""Spans of a run: where they go, what they hold, and that a collector in trouble disturbs nobody."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketAttribute, SocketStream
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from bulk_export.errors import BulkExportError, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.span_delivery import QuietLibraries
from bulk_export.progress import choose
from bulk_export.progress.console import Console
from bulk_export.progress.spans import RunSpans
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, TOKEN, options, settings
from tests.support.ports import free_port
from tests.support.watch import Watch
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


def filters() -> dict[str, list[Any]]:
    """The filters of the loggers of libraries."""
    known = {name: each for name, each in logging.root.manager.loggerDict.items() if isinstance(each, logging.Logger)}
    return {name: list(each.filters) for name, each in known.items() if not name.startswith("bulk_export")}


@pytest.mark.parametrize("trouble", ["nobody", "silent", "refuses", "trickles"])
async def test_no_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    """An export is whole although nobody takes its spans, ends soon, and says so once: no library does."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            if trouble == "refuses":
                await stream.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\nsecret")
            if trouble == "trickles":
                await stream.send(b"HTTP/1.1 200 OK\r\n")
                with suppress(anyio.BrokenResourceError):
                    while True:
                        await stream.send(b"X-More: 1\r\n")
                        await anyio.sleep(0.05)
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                await stream.receive()

    heard = Watch()
    before = filters()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, serving(settings()) as service, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = free_port() if trouble == "nobody" else listener.extra(SocketAttribute.local_port)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:secret@127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        summary = await export(options(service, tmp_path / "out", "statements", otel=True), heard)
        tasks.cancel_scope.cancel()
    assert summary.endpoints[0].records == 37
    (text,) = heard.texts
    assert re.match(r"None of the \d+ spans of this run reached a collector at ", text)
    assert f"127.0.0.1:{port}" in text
    assert "secret" not in text
    assert not [record for record in caplog.records if record.name.split(".")[0] in ("opentelemetry", "urllib3")]
    if trouble != "trickles":
        assert filters().items() >= before.items()


def test_only_ours_is_hidden(caplog: pytest.LogCaptureFixture) -> None:
    """Lines of the libraries that come from elsewhere in the program are shown, also while ours are hidden."""
    theirs = logging.getLogger("opentelemetry.sdk._shared_internal")
    libraries = QuietLibraries()
    with libraries.here():
        theirs.warning("ours")
        other = threading.Thread(target=theirs.warning, args=("of another thread",))
        other.start()
        other.join()
    theirs.warning("later")
    libraries.close()
    assert [record.message for record in caplog.records] == ["of another thread", "later"]
    assert libraries not in theirs.filters


async def test_unusable_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the library refuses are a mistake of usage, found before the first request."""
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")
    before = filters()
    async with serving(settings()) as service:
        with pytest.raises(UsageError, match="OTEL_"):
            await export(options(service, tmp_path / "out", "statements", otel=True))
        assert not service.log
    assert filters() == before


def test_quiet() -> None:
    """With --quiet nothing is said of other systems; as JSON the warning is an object like any other line."""
    for is_quiet, lines in ((True, 0), (False, 1)):
        stream = io.StringIO()
        console = Console(stream, "json")
        console.is_quiet = is_quiet
        choose("none", console).not_delivered("lost")
        assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["lost"] * lines


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
