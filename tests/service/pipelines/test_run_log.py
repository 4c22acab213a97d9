"""When requests were sent is beside the manifest of a real export: all of them, across interruptions, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import Interrupted
from bulk_export.output.run_log import RunLog
from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, TOKEN, options, settings


def log_of(output: Path) -> RunLog:
    return RunLog.parse((output / "run.jsonl").read_text())


async def test_every_request_is_on_the_timeline(tmp_path: Path) -> None:
    """Its sums are those of the manifest, and it holds no value of a filter, no address and no token."""
    async with serving(settings()) as service:
        chosen = options(service, tmp_path, "npq-applications", "statements", page_size=500, filter=["cohort=2021"])
        await export(chosen)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    log, text = log_of(tmp_path), (tmp_path / "run.jsonl").read_text()
    timeline = log.timeline
    assert log.belongs_to(manifest)
    assert timeline.total("requests") == manifest["run"]["requests"]
    assert timeline.total("pages") == sum(endpoint["pages"] for endpoint in manifest["endpoints"].values())
    assert timeline.total("records") >= sum(endpoint["records"] for endpoint in manifest["endpoints"].values())
    assert set(timeline.endpoints) == set(manifest["endpoints"])
    assert not any(secret in text for secret in (TOKEN, "127.0.0.1", "2021", "cohort"))


async def test_interrupted_export_keeps_its_timeline(tmp_path: Path) -> None:
    """The requests of the run that was stopped are on it, and so is that a second one followed."""
    async with serving(settings(error_rate=0.2)) as service:
        stop = anyio.Event()

        async def stop_soon() -> None:
            while len(service.log) < 20:
                await anyio.sleep(0.01)
            stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_soon)
            with pytest.raises(Interrupted):
                await export(
                    options(service, tmp_path / "out", "participants-npq", page_size=20), stop=stop, tuning=QUICK
                )
        await export(options(service, tmp_path / "out", "participants-npq", page_size=20), tuning=QUICK)
    manifest = json.loads((tmp_path / "out/manifest.json").read_bytes())
    timeline = log_of(tmp_path / "out").timeline
    assert len(timeline.starts) == 2
    assert timeline.total("requests") == manifest["run"]["requests"]
    assert timeline.total("retries") == manifest["run"]["retries"] > 0
