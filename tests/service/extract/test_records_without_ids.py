"""Lists that nothing identifies are exported whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.catalogue import read_description
from tests.support.exporting import FREE, QUICK
from tests.support.web_server import web_server

RECORDS = [{"size": number % 37} for number in range(95)]


@pytest.mark.parametrize("consistent", [False, True])
async def test_list_without_ids_is_complete(tmp_path: Path, consistent: bool) -> None:
    """A list that nothing identifies is exported completely."""
    boxes = {
        "path": "/boxes",
        "fields": {"size": "integer"},
        "records": {"at": [], "id": [], "attributes": []},
        "pages": {"number": "page", "size": "size", "first": 1},
    }
    service = read_description({"name": "things", "versions": {"v1": {"boxes": boxes}}}, None)

    async def answer(request: web.Request) -> web.Response:
        page, size = int(request.query["page"]), int(request.query["size"])
        return web.json_response(RECORDS[(page - 1) * size : page * size])

    async with web_server(answer) as address:
        chosen = ExportOptions.of(
            (),
            service=service,
            base_url=address,
            token="t",
            output=tmp_path / "out",
            page_size=20,
            consistent=consistent,
            **FREE,
        )
        await export(chosen, tuning=QUICK)
    rows = [
        row for file in sorted((tmp_path / "out/boxes").glob("*.parquet")) for row in pq.read_table(file).to_pylist()
    ]
    assert [row["size"] for row in rows] == [one["size"] for one in RECORDS]
    assert all(row["id"] is None and row["_extra"] is None for row in rows)
