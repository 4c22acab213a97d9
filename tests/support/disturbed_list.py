"""A service of one list, whose responses a test cuts short or exchanges, and exports of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from bulk_export.core.model import Service
from bulk_export.pipelines import export as pipeline
from bulk_export.pipelines.options import ExportOptions
from tests.support.exporting import FREE, NPQ, QUICK, TOKEN
from tests.support.heard_warnings import HeardWarnings
from tests.support.outputs import read_ndjson
from tests.support.web_server import web_server

NAME = "delivery-partners"
Answer = list[int] | int


class DisturbedList:
    """A service with one list of numbers.

    Args:
        records: How many numbers there are, from 0.
        cap: The most records in an answer, by its number from 0.
        fault: Makes the answer that is sent, the numbers of its records or a status, from the number of the request
            (from 0), the page that it asks for, and the right answer.
        first: The number of the first page.
    """

    def __init__(
        self,
        records: int,
        *,
        cap: Callable[[int], int] = lambda _: 3_000,
        fault: Callable[[int, int, Answer], Answer] = lambda _count, _page, answer: answer,
        first: int = 1,
    ) -> None:
        self.records = records
        self.cap = cap
        self.fault = fault
        self.first = first
        self.asked: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        page, size = int(request.query["page[page]"]), int(request.query["page[per_page]"])
        count = len(self.asked)
        self.asked.append(page)
        size = min(size, self.cap(count))
        start = (page - self.first) * size
        right: Answer = list(range(self.records))[start : start + size] if start >= 0 else 400
        answer = self.fault(count, page, right)
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.json_response({"data": [numbered_record(number) for number in answer]})


def numbered_record(number: int) -> dict[str, Any]:
    """Return the record of a number, which is its id."""
    attributes = {"name": f"{number}", "created_at": "2024-05-01T00:00:00Z", "updated_at": "2024-05-01T00:00:00Z"}
    return {"id": f"{number:08}-0000-4000-8000-000000000000", "type": "delivery-partner", "attributes": attributes}


def list_options(url: str, output: Path, service: Service = NPQ, **changes: Any) -> ExportOptions:
    """Options of an export of the list in pages of 100, as NDJSON."""
    given = {"base_url": url, "token": TOKEN, "output": output, "format": "ndjson", "page_size": 100, "retries": 20}
    return ExportOptions.of([NAME], service=service, **given | FREE | changes)


async def export_list(
    lists: DisturbedList, output: Path, **changes: Any
) -> tuple[list[int], dict[str, Any], list[str]]:
    """Export the list. Return the exported numbers, the list's entry in the manifest, and the warnings."""
    observer = HeardWarnings()
    async with web_server(lists.answer) as url:
        await pipeline.export(list_options(url, output, **changes), observer, tuning=QUICK)
    manifest = json.loads((output / "manifest.json").read_text())
    return numbers_in(output), manifest["endpoints"][NAME], observer.warnings


def numbers_in(output: Path) -> list[int]:
    """The numbers of the exported records, in order."""
    return [int(record["attributes"]["name"]) for record in read_ndjson(output / NAME)]
