"""What version 0.1.0 left behind: unfinished exports go on, kept pages are replayed, finished exports are replaced.

`tests/stored/export-0.1.0.tar.gz` was made by that version: `unfinished` died before its outcome was fixed, `decided`
after that, and `finished` is whole. All are of the service that `things` serves here.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.tuning import Tuning
from tests.support.exporting import FREE
from tests.support.small_service import content_of
from tests.support.web_server import web_server

STORED = Path(__file__).parents[1] / "stored"
TUNING = Tuning(shortest_backoff=0.001, longest_backoff=0.01, part_rows=20)
RECORDS, PAGE_SIZE = 45, 10


def record(number: int) -> dict[str, Any]:
    """The record at a position."""
    attributes = {
        "name": f"Thing {number}",
        "created_at": f"2024-05-01T00:00:{number:02}Z",
        "updated_at": f"2024-06-01T00:00:{number:02}Z",
        "colour": [number],
    }
    return {"id": f"{number:04}", "type": "thing", "attributes": attributes}


@asynccontextmanager
async def things() -> AsyncIterator[tuple[str, list[int]]]:
    """The address of the service, and the pages that were asked for."""
    asked: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        page, size = (int(request.query[f"page[{name}]"]) for name in ("page", "per_page"))
        asked.append(page)
        positions = range((page - 1) * size, min(RECORDS, page * size))
        return web.json_response({"data": [record(number) for number in positions]})

    async with web_server(answer) as url:
        yield url, asked


def chosen(url: str, output: Path, **changes: Any) -> ExportOptions:
    given: dict[str, Any] = {"format": ("parquet", "ndjson"), "keep_pages": True, **FREE, **changes}
    service = str(STORED / "things.toml")
    return ExportOptions.of(
        ["things"], service=service, base_url=url, token="t", output=output, page_size=PAGE_SIZE, workers=2, **given
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    with tarfile.open(STORED / "export-0.1.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def identify(output: Path, **changes: str) -> None:
    """Make an unfinished export one of the service that runs now."""
    connection = sqlite3.connect(output / ".bulk-export/journal.sqlite")
    (text,) = connection.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
    identity = json.dumps(json.loads(text) | changes, sort_keys=True)
    connection.execute("UPDATE facts SET value = ? WHERE name = 'identity'", (identity,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9"])
@pytest.mark.parametrize("state", ["unfinished", "decided"])
async def test_an_unfinished_export_goes_on_without_asking_for_a_page_twice(
    stored: Path, state: str, version: str
) -> None:
    async with things() as (url, asked):
        await export(chosen(url, stored / "new"), tuning=TUNING)
        asked.clear()
        identify(stored / state, base_url=url, version=version)
        await export(chosen(url, stored / state), tuning=TUNING)
        # At most the page behind the last one is asked for, by a version that wants the end proven.
        assert [page for page in asked if page <= 5] == []
    assert lines_of(stored / state) == lines_of(stored / "finished")
    assert verify(stored / state) == verify(stored / "finished")
    if state == "unfinished" and version != "0.1.0":
        # What that version made of the pages was made again.
        assert content_of(stored / state) == content_of(stored / "new")


def lines_of(output: Path) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(output.glob("things/*.ndjson")))


async def test_pages_that_were_kept_are_replayed(stored: Path) -> None:
    archive = stored / "finished"
    service = str(STORED / "things.toml")
    with pytest.raises(UsageError, match="not built in"):
        ReplayOptions.of(archive, output=stored / "again")
    await replay(
        ReplayOptions.of(archive, service=service, output=stored / "again", format=("parquet", "ndjson")),
    )
    assert verify(stored / "again").rows == verify(archive).rows
    assert lines_of(stored / "again") == lines_of(archive)


async def test_a_finished_export_is_verified_and_replaced(stored: Path) -> None:
    verify(stored / "finished")
    async with things() as (url, _):
        await export(chosen(url, stored / "finished", overwrite=True, keep_pages=False), tuning=TUNING)
        await export(chosen(url, stored / "new", keep_pages=False), tuning=TUNING)
    assert content_of(stored / "finished") == content_of(stored / "new")


async def test_a_journal_of_a_newer_format_is_refused_before_a_request_and_the_way_is_told(stored: Path) -> None:
    connection = sqlite3.connect(stored / "unfinished/.bulk-export/journal.sqlite")
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    async with things() as (url, asked):
        with pytest.raises(DamagedState, match=r"journal\.sqlite was written by another version") as refused:
            await export(chosen(url, stored / "unfinished"), tuning=TUNING)
        assert "the version that wrote it" in refused.value.next_step
        assert asked == []


ORIGINS: list[dict[str, Any]] = [
    {"service": "/dev/zero"},
    {"service": "../things.toml"},
    {"service": 5},
    {"endpoints": {"things": {"files": None}}},
    {"endpoints": None},
    {"parameters": None},
    {"parameters": {"page_size": -1}},
    {"run": None},
    {"started_at": 5},
]


@pytest.mark.parametrize("change", ORIGINS, ids=str)
async def test_an_archive_says_nothing_that_is_believed_without_a_look(stored: Path, change: dict[str, Any]) -> None:
    """Above all it names no file that is read as a description."""
    pages = stored / "finished/pages.sqlite"
    connection = sqlite3.connect(pages)
    (text,) = connection.execute("SELECT value FROM facts WHERE name = 'origin'").fetchone()
    origin = json.loads(text)
    if isinstance(change.get("parameters"), dict):
        change = {"parameters": origin["parameters"] | change["parameters"]}
    connection.execute("UPDATE facts SET value = ? WHERE name = 'origin'", (json.dumps(origin | change),))
    connection.commit()
    connection.close()
    with pytest.raises((DamagedState, UsageError), match=r"pages\.sqlite|not built in"):
        ReplayOptions.of(stored / "finished", output=stored / "again")
