"""Answers that belong to other requests: on a connection, through a proxy, or because pages hold the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web

from bulk_export.errors import ServiceFailing
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.progress.observer import Observer
from bulk_export.services.catalogue import read_description
from tests.support.disturbed_list import NAME, Answer, DisturbedList, export_list, list_options, numbers_in
from tests.support.exporting import FREE, QUICK
from tests.support.raw_pages import statement_options as options
from tests.support.raw_pages import ten_pages
from tests.support.raw_server import Connection, raw_server
from tests.support.web_server import web_server


class Connections:
    """Each request of a connection is numbered, so that a test can lay its answer aside for a later one."""

    def __init__(self, shift: Callable[[int], int]) -> None:
        self._shift = shift
        self._heads: dict[int, list[bytes]] = {}

    async def script(self, connection: Connection, head: bytes, number: int) -> None:
        heads = self._heads.setdefault(id(connection), [])
        heads.append(head)
        await anyio.sleep(0)
        await connection.send(ten_pages(heads[self._shift(len(heads) - 1)]))


@pytest.mark.parametrize("workers", [1, 4, 20])
@pytest.mark.parametrize(
    "shift", [lambda n: n // 2, lambda n: max(0, n - 1), lambda n: n if n < 3 else n - 1], ids=["twice", "late", "once"]
)
async def test_lagging_responses_lose_nothing(tmp_path: Path, shift: Callable[[int], int], workers: int) -> None:
    """A connection whose responses lag behind its requests loses no record."""
    async with raw_server(Connections(shift).script) as server:
        summary = await export(
            options(server.base_url, tmp_path / "out", page_size=10, workers=workers), Observer(), tuning=QUICK
        )
    assert (summary.endpoints[0].records, summary.endpoints[0].duplicates) == (100, 0)


async def test_same_command_goes_on_after_stale_pages(tmp_path: Path) -> None:
    """The same command goes on after pages that were not asked for."""
    right: list[Answer] = []
    lags = True

    def doubled(count: int, _page: int, answer: Answer) -> Answer:
        right.append(answer)
        return right[count // 2] if lags else answer

    lists = DisturbedList(950, fault=doubled)
    async with web_server(lists.answer) as url:
        with pytest.raises(ServiceFailing, match="pages that were not requested") as failed:
            await export(list_options(url, tmp_path / "out", workers=1), tuning=QUICK)
        assert "the same command goes on from here" in failed.value.next_step
        lags = False
        await export(list_options(url, tmp_path / "out", workers=1), tuning=QUICK)
    assert sorted(numbers_in(tmp_path / "out")) == list(range(950))
    stated = json.loads((tmp_path / "out/manifest.json").read_text())["endpoints"][NAME]
    assert stated["signs_of_change"] == {}


@pytest.mark.parametrize("total", [140, 300, 900])
@pytest.mark.parametrize("workers", [1, 4])
async def test_lagging_proxy_loses_nothing_silently(tmp_path: Path, total: int, workers: int) -> None:
    """A proxy whose responses lag more and more loses nothing without an error."""
    right: list[Answer] = []

    def doubled(count: int, _page: int, answer: Answer) -> Answer:
        right.append(answer)
        return right[count // 2]

    try:
        found, _, _ = await export_list(DisturbedList(total, fault=doubled), tmp_path / "out", workers=workers)
    except ServiceFailing:
        return
    assert sorted(found) == list(range(total))


BOXES = {
    "path": "/boxes",
    "fields": {"size": "integer"},
    "records": {"at": [], "id": [], "attributes": []},
    "pages": {"number": "page", "size": "size", "first": 1},
}


async def sizes_exported(records: list[int], output: Path, **changes: Any) -> tuple[list[int], dict[str, Any]]:
    """What is exported of a list of boxes that nothing identifies, in pages of ten."""
    service = read_description({"name": "things", "versions": {"v1": {"boxes": BOXES}}}, None)

    async def answer(request: web.Request) -> web.Response:
        page, size = int(request.query["page"]), int(request.query["size"])
        return web.json_response([{"size": one} for one in records[(page - 1) * size : page * size]])

    async with web_server(answer) as url:
        given = FREE | {"page_size": 10, "format": "ndjson", "workers": 1} | changes
        await export(
            ExportOptions.of((), service=service, base_url=url, token="t", output=output, **given),
            tuning=replace(QUICK, part_rows=10),
        )
    files = sorted((output / "boxes").glob("*.ndjson"))
    found = [json.loads(line)["size"] for file in files for line in file.read_bytes().splitlines()]
    return found, json.loads((output / "manifest.json").read_text())["endpoints"]["boxes"]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize(
    "records",
    [
        [*range(10), *[7] * 20, *range(5)],
        [*range(10), *[7] * 20, *range(20), *[7] * 10, 1],
        [*[7] * 20, *range(3)],
        [*range(10), *range(20), *range(10), *range(4)],
    ],
    ids=["two", "three", "first", "apart"],
)
async def test_equal_pages_without_ids_are_kept(tmp_path: Path, records: list[int], workers: int) -> None:
    """Pages of equal records that nothing identifies are all kept."""
    found, stated = await sizes_exported(records, tmp_path / "out", workers=workers)
    assert Counter(found) == Counter(records)
    assert stated["signs_of_change"] == {}
    once = Counter(records)
    assert stated["duplicates"] > 0
    assert stated["duplicates"] <= sum(once.values()) - len(once)


async def test_equal_last_pages_without_ids_are_stated(tmp_path: Path) -> None:
    """A list that ends with equal pages is reported if nothing identifies its records."""
    found, stated = await sizes_exported([*range(10), *[7] * 50], tmp_path / "out")
    assert found[:20] == [*range(10), *[7] * 10]
    assert "suspicious_end" in stated["signs_of_change"] or len(found) == 60
