"""OpenLineage events of a run: what was read, what was written, and how it ended, in files and at HTTP backends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bulk_export.errors import BulkExportError, LocalFailure, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.option_parsing import lineage_of
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.services.local import serving
from tests.support.copy_scene import NAME, scene
from tests.support.exporting import FREE, QUICK, TOKEN, options, settings
from tests.support.ports import free_port
from tests.support.watch import Watch
from tests.support.web_server import web_server


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A success is START and COMPLETE, part of the run that began it; a failure is FAIL. The file is private."""
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", "airflow/nightly.export/01890000-0000-7000-8000-000000000000")
    file = tmp_path / "lineage.jsonl"
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "one", "statements", lineage=file, drop_column="cohort"))
        refused = options(service, tmp_path / "two", "statements", lineage=file, token="another")
        with pytest.raises(BulkExportError):
            await export(refused, tuning=QUICK)
    start, complete, again, fail = events(file)
    assert [event["eventType"] for event in (start, complete, again, fail)] == ["START", "COMPLETE", "START", "FAIL"]
    assert start["run"]["runId"] == complete["run"]["runId"] != fail["run"]["runId"]
    assert complete["job"] == {"namespace": "bulk-export", "name": "export.npq", "facets": {}}
    assert complete["run"]["facets"]["parent"]["job"]["name"] == "nightly.export"
    assert [dataset["name"] for dataset in complete["inputs"]] == ["statements"]
    (output,) = complete["outputs"]
    assert (output["namespace"], output["name"]) == ("file", f"{tmp_path}/one/statements")
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 37
    columns = {column["name"]: column["type"] for column in output["facets"]["schema"]["fields"]}
    assert columns["id"] == "string"
    assert "cohort" not in columns
    assert fail["run"]["facets"]["errorMessage"]["message"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert TOKEN not in file.read_text()


async def test_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend gets the events with its own key."""
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "key-of-backend")
    received: list[tuple[str, str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        received.append((request.path, request.headers["Authorization"], await request.json()))
        return web.Response(status=201)

    async with serving(settings()) as service, web_server(answer) as backend:
        await export(options(service, tmp_path / "out", "statements", lineage=backend))
    assert [(path, key, event["eventType"]) for path, key, event in received] == [
        ("/api/v1/lineage", "Bearer key-of-backend", "START"),
        ("/api/v1/lineage", "Bearer key-of-backend", "COMPLETE"),
    ]


@pytest.mark.parametrize("status", [None, 422])
async def test_backend_in_trouble(tmp_path: Path, status: int | None) -> None:
    """An export is whole without its lineage, and says what is missing."""
    heard = Watch()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status or 500, text="secret details")

    async with serving(settings()) as service, web_server(answer) as backend:
        address = backend if status else f"http://127.0.0.1:{free_port()}"
        summary = await export(options(service, tmp_path / "out", "statements", lineage=address), heard)
    assert summary.endpoints[0].records == 37
    assert len(heard.texts) == 2
    assert heard.texts[0].startswith("The lineage event START was not delivered")
    assert "secret" not in str(heard.texts)


async def test_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is refused before anything is sent."""
    async with serving(settings()) as service:
        with pytest.raises(LocalFailure):
            await export(options(service, tmp_path / "out", "statements", lineage=tmp_path / "no" / "lineage.jsonl"))
        assert not service.log
    assert not (tmp_path / "out").exists()


async def test_copy(tmp_path: Path) -> None:
    """Each poll of a copy is a run, and its outputs are the tables with the number of rows that changed."""
    file = tmp_path / "lineage.jsonl"
    async with scene(tmp_path, people=5) as it:
        chosen = SyncOptions.of(
            (NAME,), base_url=it.url, token=TOKEN, output=it.directory, lineage=file, format="parquet", **FREE
        )
        for _ in range(2):
            await sync_and_load(chosen, report=lambda _: None, loaded=lambda _: None)
    found = events(file)
    assert [event["eventType"] for event in found] == ["START", "COMPLETE"] * 2
    rows = [event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for event in found[1::2]]
    assert rows == [5, 0]
    assert found[1]["outputs"][0]["name"] == f"{it.directory}/{NAME}"


@pytest.mark.parametrize(
    ("refused", "reason"),
    [("https://me:secret@example.org", "password"), ("ftp://example.org", "path on this machine")],
)
def test_refused_addresses(refused: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as error:
        lineage_of(refused)
    assert "secret" not in str(error.value)


async def test_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the message names the extra."""
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    async with serving(settings()) as service:
        with pytest.raises(UsageError) as failure:
            await export(options(service, tmp_path / "out", "statements", lineage=tmp_path / "x.jsonl"))
    assert "pip install 'bulk-export[lineage]'" in failure.value.next_step
