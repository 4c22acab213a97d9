"""Record batches straight from the service."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import bulk_export
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import TOKEN, settings
from tests.support.restore import canonical, restore

FREE: dict[str, Any] = {
    "token": TOKEN,
    "budget": "memory://",
    "service_limit": "100000/1s",
    "ip_limit": "100000/1s",
    "min_interval": 0,
}


async def read(service: LocalService, endpoint: str, **changes: Any) -> list[pa.RecordBatch]:
    return [batch async for batch in bulk_export.stream(endpoint, base_url=service.base_url, **(FREE | changes))]


@pytest.mark.parametrize("workers", [1, 8])
async def test_every_record_comes_in_page_order(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(settings(latency=0.002, latency_spread=0.9)) as service:
        batches = await read(service, "npq-applications", page_size=50, workers=workers)
        expected = list(service.truth("npq-applications"))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [canonical(restore(row)) for row in rows] == [canonical(record) for record in expected]
    assert list(tmp_path.iterdir()) == []


async def test_slow_consumer_slows_requests() -> None:
    """A slow consumer slows down the requests."""
    async with serving(settings(records_by_endpoint={"npq-applications": 20_000})) as service:
        pages = bulk_export.stream("npq-applications", base_url=service.base_url, page_size=100, workers=2, **FREE)
        async with aclosing(pages) as batches:
            await anext(batches)
            for _ in range(50):
                await asyncio.sleep(0.01)
            asked = len(service.log)
        assert asked < 150
        await asyncio.sleep(0.05)
        assert len(service.log) <= asked + 2


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_leaving_early_leaves_nothing_behind() -> None:
    before = open_descriptors()
    async with serving(settings()) as service:
        async with aclosing(
            bulk_export.stream("npq-applications", base_url=service.base_url, page_size=20, **FREE)
        ) as batches:
            await anext(batches)
        assert len(asyncio.all_tasks()) <= 3
    assert open_descriptors() <= before + 1


async def test_repeated_records_come_once() -> None:
    """Records that are on two pages come once."""
    async with serving(settings(records_by_endpoint={"statements": 500})) as service:
        batches = await read(service, "statements", page_size=5)
    ids = [identity for batch in batches for identity in batch.column("id").to_pylist()]
    assert 300 < len(ids) == len(set(ids)) < 500


async def test_errors_reach_the_consumer() -> None:
    async with serving(settings()) as service:
        with pytest.raises(bulk_export.ServiceRefused, match="401"):
            await read(service, "statements", token="wrong")
    with pytest.raises(bulk_export.UsageError, match="no endpoint 'statement'"):
        bulk_export.stream("statement", base_url="https://example.org", token="t")


def test_an_export_without_an_event_loop(tmp_path: Path) -> None:
    summary = bulk_export.run_export(
        "statements", environment="local", output=tmp_path / "out", min_interval=0, page_size=1000
    )
    assert summary.endpoints[0].records == 2_000
    assert bulk_export.verify(tmp_path / "out").rows == 2_000
    named = bulk_export.run_export(
        endpoints=["delivery-partners"],
        environment="local",
        output=tmp_path / "more",
        min_interval="0",
        format="ndjson",
    )
    assert [one.name for one in named.endpoints] == ["delivery-partners"]
