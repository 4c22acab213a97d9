"""A service with responses that a test chooses, a copy of it, and a clock for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars
import pyarrow.parquet as pq
from aiohttp import web

from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import SyncSummary
from tests.support.exporting import FREE, NPQ, TOKEN
from tests.support.web_server import web_server

NAME, PARTNERS = "participants-npq", "delivery-partners"
PATHS = {"/api/v3/participants/npq": NAME, "/api/v3/delivery-partners": PARTNERS}
BEGAN = datetime(2025, 6, 2, 12, 10, 7, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


class Scene:
    """A service with responses that the test chooses, a copy of it, and their clock.

    `doctor` makes the records of a response from the endpoint, the query, and the right records. `reports` has the
    summaries that a sync reported.
    """

    def __init__(self, url: str, directory: Path, records: dict[str, list[dict[str, Any]]]) -> None:
        self.url = url
        self.directory = directory
        self.records = records
        self.now = BEGAN
        # The clock of the machine that polls and the one that the service shows, where they are wrong.
        self.ours: datetime | None = None
        self.date: Callable[[], str] = lambda: format_datetime(self.now, usegmt=True)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.doctor: Callable[[str, dict[str, str], list[Any]], list[Any]] = lambda _name, _query, records: records
        # The most records of a page, and how many of them are sent.
        self.cap: Callable[[], int] = lambda: 3_000
        self.cut: int | None = None
        self.reports: list[SyncSummary] = []

    async def sync(self, *names: str, **changes: Any) -> SyncSummary:
        # A described service, since reading its description takes 4 ms.
        arguments = {"service": NPQ, "base_url": self.url, "token": TOKEN, "output": self.directory, "retries": 0}
        arguments |= FREE | changes
        every, extract = arguments.pop("every", None), arguments.pop("extract", None)
        options = SyncOptions.of(names or (NAME,), **arguments)
        return await sync_once(
            options, clock=lambda: self.ours or self.now, every=every, extract=extract, report=self.reports.append
        )

    def since(self) -> list[str]:
        """The instants from which changes were requested."""
        return [query["filter[updated_since]"] for _, query in self.asked if "filter[updated_since]" in query]

    def rows(self, name: str = NAME) -> dict[str, dict[str, Any]]:
        if (self.directory / name / "_delta_log").exists():
            table = polars.read_delta(str(self.directory / name)).to_arrow()
        else:
            table = pq.read_table(self.directory / name)
        return {row["id"]: row for row in table.to_pylist()}

    def removed(self, name: str = NAME) -> set[str]:
        return {identity for identity, row in self.rows(name).items() if row["_removed_at"] is not None}


def person(number: int, **attributes: Any) -> dict[str, Any]:
    defaults = {"full_name": f"Person {number}", "updated_at": "2025-06-01T10:00:00Z"}
    return {"id": f"p{number:05}", "type": "npq-participant", "attributes": defaults | attributes}


@asynccontextmanager
async def scene(directory: Path, *, people: int = 0, partners: int = 0) -> AsyncIterator[Scene]:
    lists = {
        NAME: [person(number) for number in range(people)],
        PARTNERS: [person(number) for number in range(partners)],
    }

    async def answer(request: web.Request) -> web.Response:
        name, query = PATHS[request.path], dict(request.query)
        it.asked.append((name, query))
        records = it.records[name]
        if "filter[updated_since]" in query:
            since = query["filter[updated_since]"]
            records = [record for record in records if record["attributes"]["updated_at"] >= since]
        records = it.doctor(name, query, records)
        size, page = min(int(query["page[per_page]"]), it.cap()), int(query["page[page]"])
        headers = {"Date": it.date()}
        return web.json_response({"data": records[(page - 1) * size : page * size][: it.cut]}, headers=headers)

    async with web_server(answer) as url:
        it = Scene(url, directory / "copy", lists)
        yield it
