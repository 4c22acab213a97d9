"""Between a permit and the wire, and after a request that got no answer: what the record of an export then says."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from bulk_export.errors import ServiceFailing
from bulk_export.extract.client import Timeouts
from bulk_export.extract.rate_limit import limiter, read_usage
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning
from tests.support.exporting import FREE
from tests.support.raw_server import Connection, raw_server, response
from tests.support.sliding_log import most_in_any_window
from tests.support.small_service import ENDPOINTS, PAGE_SIZE, expected_ids, page, small_service
from tests.support.web_server import web_server

HASTY = Tuning(shortest_backoff=0.001, longest_backoff=0.01, timeouts=Timeouts(connect=0.2, read=0.2, total=0.2))


def options(base_url: str, output: Path, *endpoints: str, **changes: Any) -> ExportOptions:
    chosen = {"base_url": base_url, "token": "t", "output": output, "page_size": PAGE_SIZE} | FREE | changes
    return ExportOptions.of(endpoints, **chosen)


async def test_lapsed_permit_after_sleep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page whose permit lapsed while the machine slept is requested with another permit.

    The machine sleeps for an hour again and again, each time somewhere between a permit and the wire.
    """
    readings = itertools.count()
    asleep = BootClock("this boot", lambda: 3600.0 * (next(readings) // 7))
    monkeypatch.setattr(limiter, "boot_clock", lambda: asleep)
    budget = {"budget": f"sqlite:///{tmp_path}/budget.sqlite", "service_limit": "1000/60s", "ip_limit": "1000/60s"}
    async with small_service() as service:
        summary = await export(options(service.base_url, tmp_path / "out", *ENDPOINTS, **budget))
    assert [one.records for one in summary.endpoints] == [len(expected_ids(name)) for name in ENDPOINTS]
    assert next(readings) > 7 * len(service.requests) / 3
    assert read_usage(budget["budget"])[0].used == len(service.requests)


@pytest.mark.parametrize("silence", ["no answer", "504"])
async def test_unanswered_request_keeps_its_permit(tmp_path: Path, silence: str) -> None:
    """A request without a response keeps its permit for as long as the service may still count it."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        if silence == "504":
            await connection.send(response(b"", "504 Gateway Timeout"))
        else:
            await anyio.sleep_forever()

    budget = f"sqlite:///{tmp_path}/budget.sqlite"
    changes = {"budget": budget, "service_limit": "100/20s", "ip_limit": "100/20s", "retries": 0}
    async with raw_server(script) as server:
        with pytest.raises(ServiceFailing), anyio.fail_after(20):
            await export(options(server.base_url, tmp_path / "out", "statements", **changes), tuning=HASTY)
    (free_in,) = read_usage(budget)[0].free_in
    assert 20 < free_in <= 40


async def test_queue_of_stalled_service_is_counted(tmp_path: Path) -> None:
    """A service that stood still and works off its queue counts no more than the limit.

    Requests are given up after 0.2 s, and counted when the service goes on, together with new ones.
    """
    counted: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        if len(counted) >= 2 and not stopped:
            stopped.append(anyio.current_time() + 0.6)
        if stopped:
            await anyio.sleep_until(stopped[0])
        counted.append(anyio.current_time())
        return web.Response(
            body=page("participants-npq", int(request.query["page[page]"])), content_type="application/json"
        )

    stopped: list[float] = []
    limits = {"service_limit": "4/1s", "ip_limit": "4/1s", "retries": 11, "budget": "memory://"}
    async with web_server(answer) as base_url:
        summary = await export(
            options(base_url, tmp_path / "out", "participants-npq", workers=4, **limits), tuning=HASTY
        )
    assert summary.endpoints[0].records == len(expected_ids("participants-npq"))
    assert len(counted) > summary.endpoints[0].pages
    assert most_in_any_window(counted, 1.0) <= 4
