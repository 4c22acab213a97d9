"""A service of two short endpoints, one of which shows a record twice, and the expected export of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bulk_export.extract.journal import open_archive
from tests.support.web_server import web_server

PAGE_SIZE = 10
ENDPOINTS = ("participants-npq", "delivery-partners")
# Enough for several parts of 20 rows, and small enough for hundreds of exports.
RECORDS = {"participants-npq": 45, "delivery-partners": 12}
# Stands at the end of page 2, and again, newer, at the start of page 4.
TWICE = (19, 30)


@dataclass
class SmallService:
    """`requests` holds endpoint and page of each request, in order of arrival."""

    base_url: str = ""
    requests: list[tuple[str, int]] = field(default_factory=list)


def record(endpoint: str, number: int) -> dict[str, Any]:
    """The record at a position of an endpoint, from 0."""
    identity = TWICE[0] if endpoint == "participants-npq" and number == TWICE[1] else number
    return {
        "id": f"{identity:08}-0000-4000-8000-000000000000",
        "type": endpoint.removesuffix("s"),
        "attributes": {
            "full_name": f"Person {identity}",
            "updated_at": f"2024-05-01T00:00:{number:02}Z",
            "new": [identity],
        },
    }


def page(endpoint: str, number: int) -> bytes:
    """The body of a page, from 1; without records beyond the end."""
    first = (number - 1) * PAGE_SIZE
    positions = range(first, min(first + PAGE_SIZE, RECORDS[endpoint]))
    return json.dumps({"data": [record(endpoint, position) for position in positions]}).encode()


def expected_ids(endpoint: str) -> list[str]:
    """Return the ids of an export, in order: of two versions, the newer one is kept in its position."""
    left_out = TWICE[0] if endpoint == "participants-npq" else None
    return [record(endpoint, position)["id"] for position in range(RECORDS[endpoint]) if position != left_out]


@asynccontextmanager
async def small_service() -> AsyncIterator[SmallService]:
    """Serve on loopback."""
    service = SmallService()

    async def answer(request: web.Request) -> web.Response:
        endpoint = request.path.removeprefix("/api/v3/").replace("/", "-")
        number = int(request.query["page[page]"])
        service.requests.append((endpoint, number))
        return web.Response(body=page(endpoint, number), content_type="application/json")

    async with web_server(answer) as service.base_url:
        yield service


def content_of(output: Path) -> dict[str, Any]:
    """Return what an export left: parts, the manifest except times and counters, the pages of an archive. No log."""
    content: dict[str, Any] = {}
    for path in sorted(output.rglob("*")):
        name = str(path.relative_to(output))
        if path.is_dir():
            content[name] = "directory"
        elif name == "manifest.json":
            manifest = json.loads(path.read_bytes())
            for varying in ("started_at", "finished_at", "run"):
                del manifest[varying]
            for endpoint in manifest["endpoints"].values():
                del endpoint["requests"]
            content[name] = manifest
        elif name == "run.jsonl":
            continue
        elif name == "pages.sqlite":
            archive = open_archive(path, cap=1 << 20)
            # Which empty pages were met on the search for the end depends on timing.
            content[name] = {stored.key: archive.body(stored.key) for stored in archive.pages() if stored.records}
            archive.close()
        else:
            content[name] = path.read_bytes()
    return content
