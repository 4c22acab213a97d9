"""A service of one list that can change between requests, with responses that a test can alter."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bulk_export.core.model import Service
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.services.catalogue import read_description
from tests.support.exporting import FREE, QUICK, TOKEN
from tests.support.web_server import web_server

NAME = "people"
LARGEST = 7
FIELDS = {"name": "string", "training_record_id": "string", "updated_at": "timestamp"}
Records = Sequence[Any]


@dataclass
class ListService:
    """Responds with at most `cap` of `records`.

    `ordered` puts the records in order, from the number of the request (from 1) and the sort that it asks for. `bend`
    makes the records that arrive, from the number of the request and the right ones.
    """

    records: Records
    cap: int = LARGEST
    ordered: Callable[[Records, int, str], Records] = lambda records, _, __: records
    bend: Callable[[int, Records], Records] = lambda _, records: records
    as_table: bool = False
    base_url: str = ""
    queries: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Return one page, or everything if no page is requested."""
        self.queries.append(dict(request.query))
        number = len(self.queries)
        records = self.ordered(self.records, number, request.query.get("sort", ""))
        size = min(
            int(request.query.get("page[per_page]", len(records) or 1)), self.cap if not self.as_table else 9_999
        )
        first = (int(request.query.get("page[page]", 1)) - 1) * size
        arrived = self.bend(number, records[first : first + size])
        if self.as_table:
            return web.Response(text=_table(arrived), content_type="text/csv")
        return web.Response(body=json.dumps({"data": list(arrived)}).encode(), content_type="application/json")


def described(*, largest: int | None = LARGEST, **endpoint: Any) -> Service:
    """A description of the list."""
    people = {"path": "/people", "fields": FIELDS, "order_is_total": True} | endpoint
    pages = {} if largest is None else {"largest": largest}
    return read_description({"name": "lists", "pages": pages, "versions": {"v1": {NAME: people}}}, None)


@asynccontextmanager
async def serving_list(records: Records, **settings: Any) -> AsyncIterator[ListService]:
    """Serve on loopback."""
    service = ListService(records, **settings)
    async with web_server(service.answer) as service.base_url:
        yield service


def options(
    service: ListService, output: Path, described_as: Service, names: Sequence[str] = (NAME,), **changes: Any
) -> ExportOptions:
    """Options of an export of the list that do not wait."""
    arguments: dict[str, Any] = {
        "service": described_as,
        "base_url": service.base_url,
        "token": TOKEN,
        "output": output,
        "format": "ndjson",
        "page_size": 5,
        "workers": 2,
    }
    return ExportOptions.of(names, **(arguments | FREE | changes))


async def exported(service: ListService, output: Path, described_as: Service, **changes: Any) -> dict[str, Any]:
    """Export the list. Return its entry in the manifest."""
    await export(options(service, output, described_as, **changes), tuning=QUICK)
    stated: dict[str, Any] = json.loads((output / "manifest.json").read_bytes())["endpoints"][NAME]
    return stated


def person(number: int, **changes: Any) -> dict[str, Any]:
    """Return a record with `changes` in its attributes."""
    attributes = {"name": f"Person {number}", "training_record_id": f"t{number}", "updated_at": "2025-01-01T00:00:00Z"}
    return {"id": f"id-{number:03}", "type": "person", "attributes": attributes | changes}


def _table(rows: Records) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", *FIELDS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"id": row["id"], **row["attributes"]} for row in rows)
    return text.getvalue()
