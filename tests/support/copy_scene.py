"""A service whose answers a test decides, a copy of it, and a clock for both."""

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
from tests.support.exporting import FREE, TOKEN
from tests.support.web_server import web_server

NAME, WHOLE = "participants-npq", "delivery-partners"
PATHS = {"/api/v3/participants/npq": NAME, "/api/v3/delivery-partners": WHOLE}
BEGAN = datetime(2025, 6, 2, 12, 10, 7, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


class Scene:
    """A service whose answers the test decides, a copy of it, and their clock.

    `doctor` may change what one request for an endpoint is shown; it hears the query, too.
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
        self.doctor: Callable[[str, dict[str, str], list[Any]], list[Any]] = lambda _name, _query, shown: shown
        # The most records that a page has, and what is left of those that it would have.
        self.cap: Callable[[], int] = lambda: 3_000
        self.cut: int | None = None
        self.told: list[SyncSummary] = []

    async def sync(self, *names: str, **changes: Any) -> SyncSummary:
        chosen = {"base_url": self.url, "token": TOKEN, "output": self.directory, "retries": 0, **FREE} | changes
        every, extract = chosen.pop("every", None), chosen.pop("extract", None)
        options = SyncOptions.of(names or (NAME,), **chosen)
        return await sync_once(
            options, clock=lambda: self.ours or self.now, every=every, extract=extract, report=self.told.append
        )

    def since(self) -> list[str]:
        """What was asked from, by each request for changes."""
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
    shown = {"full_name": f"Person {number}", "updated_at": "2025-06-01T10:00:00Z"}
    return {"id": f"p{number:05}", "type": "npq-participant", "attributes": shown | attributes}


@asynccontextmanager
async def scene(directory: Path, *, people: int = 0, whole: int = 0) -> AsyncIterator[Scene]:
    records = {NAME: [person(number) for number in range(people)], WHOLE: [person(number) for number in range(whole)]}

    async def answer(request: web.Request) -> web.Response:
        name, query = PATHS[request.path], dict(request.query)
        it.asked.append((name, query))
        shown = it.records[name]
        if "filter[updated_since]" in query:
            shown = [one for one in shown if one["attributes"]["updated_at"] >= query["filter[updated_since]"]]
        shown = it.doctor(name, query, shown)
        size, page = min(int(query["page[per_page]"]), it.cap()), int(query["page[page]"])
        headers = {"Date": it.date()}
        return web.json_response({"data": shown[(page - 1) * size : page * size][: it.cut]}, headers=headers)

    async with web_server(answer) as url:
        it = Scene(url, directory / "copy", records)
        yield it
