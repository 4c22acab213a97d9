"""Exports of earlier versions: unfinished ones go on, kept pages are replayed, finished ones are replaced.

`tests/stored/README.md` says how the files were made.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.replay import ReplayOptions, replay
from tests.support.disturbed_run import TUNING, small_options
from tests.support.exporting import FREE
from tests.support.small_service import SmallService, content_of, small_service
from tests.support.stored import STORED, set_identity, unpack
from tests.support.web_server import web_server

RECORDS, PAGE_SIZE = 45, 10
JOURNAL = ".bulk-export/journal.sqlite"
FORMATS = ("parquet", "ndjson")


def thing(number: int) -> dict[str, Any]:
    """The record at a position of `things`."""
    attributes = {
        "name": f"Thing {number}",
        "created_at": f"2024-05-01T00:00:{number:02}Z",
        "updated_at": f"2024-06-01T00:00:{number:02}Z",
        "colour": [number],
    }
    return {"id": f"{number:04}", "type": "thing", "attributes": attributes}


@asynccontextmanager
async def things() -> AsyncIterator[SmallService]:
    """Serve what the exports of 0.1.0 are of."""
    service = SmallService()

    async def answer(request: web.Request) -> web.Response:
        page, size = (int(request.query[f"page[{name}]"]) for name in ("page", "per_page"))
        service.requests.append(("things", page))
        positions = range((page - 1) * size, min(RECORDS, page * size))
        return web.json_response({"data": [thing(number) for number in positions]})

    async with web_server(answer) as service.base_url:
        yield service


def things_options(base_url: str, output: Path, **changes: Any) -> ExportOptions:
    given: dict[str, Any] = {"format": FORMATS, "keep_pages": True, **FREE, **changes}
    service = str(STORED / "things.toml")
    return ExportOptions.of(
        ["things"],
        service=service,
        base_url=base_url,
        token="t",
        output=output,
        page_size=PAGE_SIZE,
        workers=2,
        **given,
    )


@dataclass(frozen=True)
class Version:
    """The stored exports of one version: the service they are of, and the options they were made with.

    `description` is the file that describes the service, None for a built-in one. `fetched` are the pages that its
    unfinished exports hold.
    """

    number: str
    archive: str
    serve: Callable[[], contextlib.AbstractAsyncContextManager[SmallService]]
    options: Callable[..., ExportOptions]
    description: Path | None
    fetched: frozenset[tuple[str, int]]


VERSIONS = [
    Version(
        "0.1.0",
        "export-0.1.0.tar.gz",
        things,
        things_options,
        STORED / "things.toml",
        frozenset(("things", page) for page in range(1, 6)),
    ),
    Version(
        "0.2.0",
        "export-0.2.0.tar.xz",
        small_service,
        small_options,
        None,
        frozenset(
            {*(("participants-npq", page) for page in range(1, 5)), ("delivery-partners", 1), ("delivery-partners", 2)}
        ),
    ),
    Version(
        "0.2.0",
        "export-format-4.tar.xz",
        small_service,
        small_options,
        None,
        frozenset(
            {*(("participants-npq", page) for page in range(1, 6)), *(("delivery-partners", page) for page in (1, 2))}
        ),
    ),
]


@pytest.fixture(params=VERSIONS, ids=lambda version: version.archive)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture
def stored(version: Version, tmp_path: Path) -> Path:
    unpack(version.archive, tmp_path)
    return tmp_path


def lines_of(output: Path) -> bytes:
    return b"".join(part.read_bytes() for part in sorted(output.glob("*/*.ndjson")))


@pytest.mark.parametrize("written_by", [None, "0.0.9"], ids=["that version", "another one"])
@pytest.mark.parametrize("state", ["unfinished", "decided"])
async def test_unfinished_export_resumes(stored: Path, version: Version, state: str, written_by: str | None) -> None:
    """An unfinished export goes on without asking for a page twice, also when its manifest was decided."""
    output = stored / state
    async with version.serve() as service:
        await export(version.options(service.base_url, stored / "new"), tuning=TUNING)
        service.requests.clear()
        set_identity(output / JOURNAL, base_url=service.base_url, version=written_by or version.number)
        await export(version.options(service.base_url, output), tuning=TUNING)
        # At most pages behind the last one are asked for, by a version that wants the end proven.
        assert not version.fetched & set(service.requests)
        assert state == "unfinished" or not service.requests
    assert lines_of(output) == lines_of(stored / "finished")
    assert verify(output) == verify(stored / "finished")
    if state == "unfinished" and written_by is not None:
        # Parts of another version are made again from the pages.
        assert content_of(output) == content_of(stored / "new")


async def test_kept_pages_are_replayed(stored: Path, version: Version) -> None:
    archive = stored / "finished"
    described: dict[str, Any] = {}
    if version.description is not None:
        with pytest.raises(UsageError, match="not built in"):
            ReplayOptions.of(archive, output=stored / "again")
        described["service"] = str(version.description)
    await replay(ReplayOptions.of(archive, output=stored / "again", format=FORMATS, **described))
    assert verify(stored / "again").rows == verify(archive).rows
    assert lines_of(stored / "again") == lines_of(archive)


async def test_finished_export_is_replaced(stored: Path, version: Version) -> None:
    """A finished export is verified, and replaced with --overwrite."""
    verify(stored / "finished")
    async with version.serve() as service:
        options = functools.partial(version.options, service.base_url, keep_pages=False)
        await export(options(stored / "finished", overwrite=True), tuning=TUNING)
        await export(options(stored / "new"), tuning=TUNING)
    assert content_of(stored / "finished") == content_of(stored / "new")


async def test_newer_journal_is_refused(stored: Path, version: Version) -> None:
    """A journal of a newer format is refused before a request is sent, and the message says what to do."""
    connection = sqlite3.connect(stored / "unfinished" / JOURNAL)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    async with version.serve() as service:
        with pytest.raises(DamagedState, match=r"journal\.sqlite was written by another version") as refused:
            await export(version.options(service.base_url, stored / "unfinished"), tuning=TUNING)
        assert "the version that wrote it" in refused.value.next_step
        assert service.requests == []


async def test_second_sweep_resumes(tmp_path: Path) -> None:
    """An export with --consistent goes on in the middle of its second sweep; it keeps the pages of both sweeps."""
    (version,) = [version for version in VERSIONS if version.archive == "export-0.2.0.tar.xz"]
    unpack(version.archive, tmp_path)
    output = tmp_path / "second-sweep"
    async with version.serve() as service:
        await export(version.options(service.base_url, tmp_path / "new", consistent=True), tuning=TUNING)
        in_full = sorted(service.requests)
        service.requests.clear()
        set_identity(output / JOURNAL, base_url=service.base_url)
        await export(version.options(service.base_url, output, consistent=True), tuning=TUNING)
    # 10 pages of the first sweep and 3 of the second were stored.
    assert len(service.requests) <= len(in_full) - 13
    assert content_of(output) == content_of(tmp_path / "new")


async def test_working_state_of_work_dir_is_found(tmp_path: Path) -> None:
    """The pointer to the working state of --work-dir leads there, under the name that the output's path gives it."""
    (version,) = [version for version in VERSIONS if version.archive == "export-0.2.0.tar.xz"]
    unpack(version.archive, tmp_path)
    output, work = tmp_path / "work-dir/output", tmp_path / "work-dir/work"
    (state,) = work.iterdir()
    pointer = output / ".bulk-export/elsewhere.json"
    made_in = "/tmp/bulk-export-stored"
    assert json.loads(pointer.read_text()) == {"work_dir": str(Path(made_in, "work", name_of(Path(made_in, "output"))))}
    assert state.name == name_of(Path(made_in, "output"))
    # The whole of it was moved since, as no user can.
    state = state.rename(work / name_of(output))
    pointer.write_text(json.dumps({"work_dir": os.path.realpath(state)}))
    async with version.serve() as service:
        set_identity(state / "journal.sqlite", base_url=service.base_url)
        with pytest.raises(UsageError, match="lies in"):
            await export(version.options(service.base_url, output), tuning=TUNING)
        await export(version.options(service.base_url, output, work_dir=work), tuning=TUNING)
        assert not version.fetched & set(service.requests)
    assert lines_of(output) == lines_of(tmp_path / "finished")
    assert not pointer.exists()
    assert not list(work.iterdir())


def name_of(output: Path) -> str:
    """The directory in which --work-dir holds the working state of an output."""
    return f"bulk-export-{hashlib.sha256(os.path.realpath(output).encode()).hexdigest()[:24]}"


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
async def test_origin_of_kept_pages_is_checked(tmp_path: Path, change: dict[str, Any]) -> None:
    """What kept pages say of their origin is checked; above all, no file is read as a description that they name."""
    unpack("export-0.1.0.tar.gz", tmp_path)
    pages = tmp_path / "finished/pages.sqlite"
    connection = sqlite3.connect(pages)
    (text,) = connection.execute("SELECT value FROM facts WHERE name = 'origin'").fetchone()
    origin = json.loads(text)
    if isinstance(change.get("parameters"), dict):
        change = {"parameters": origin["parameters"] | change["parameters"]}
    connection.execute("UPDATE facts SET value = ? WHERE name = 'origin'", (json.dumps(origin | change),))
    connection.commit()
    connection.close()
    with pytest.raises((DamagedState, UsageError), match=r"pages\.sqlite|not built in"):
        ReplayOptions.of(tmp_path / "finished", output=tmp_path / "again")
