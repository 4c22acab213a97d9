"""The output of a run: locked, tied to one identity, and replaced only when everything else is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DirectoryInUse, UsageError
from bulk_export.output.manifest import MANIFEST, RunCounters, read_manifest
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.results import RunFacts, manifest_of
from bulk_export.pipelines.workspace import Workspace, WorkspaceRequest, interrupted, open_workspace
from bulk_export.progress.observer import Observer
from bulk_export.services.catalogue import load_service
from tests.support.stored_pages import PARTNERS, complete_sweep, conversion_settings, full_pages, store_pages


def request(output: Path, **changes: Any) -> WorkspaceRequest:
    given: dict[str, Any] = {
        "output": output,
        "work_dir": None,
        "endpoints": [PARTNERS.name],
        "overwrite": False,
        "keep_pages": False,
        "identity": {"version": "1", "page_size": 10},
        "body_cap": 1 << 20,
    }
    return WorkspaceRequest(**given | changes)


def decide(workspace: Workspace) -> dict[str, Any]:
    """Convert 25 records, and decide to publish them."""
    store_pages(workspace.store, full_pages(25))
    conversion = EndpointConversion(
        complete_sweep(workspace.store), conversion_settings(), workspace.store, workspace.directory.staging
    )
    while step := conversion.next_step():
        conversion.run(step)
    facts = RunFacts(
        service=load_service("npq"),
        base_url="local",
        parameters={},
        started_at="2025-01-01T00:00:00Z",
        counters=RunCounters(0, 0, 0, 0),
        consistent=False,
        requests={},
    )
    return workspace.decide(manifest_of(facts, [conversion], workspace.store), [conversion])


async def test_a_decided_run_is_only_published(tmp_path: Path) -> None:
    """A run that stopped after the decision publishes the same manifest, and leaves nothing but the export."""
    async with open_workspace(request(tmp_path / "out")) as workspace:
        assert not workspace.is_resumed
        assert workspace.decided_manifest() is None
        manifest = decide(workspace)
    async with open_workspace(request(tmp_path / "out")) as workspace:
        assert workspace.is_resumed
        assert workspace.decided_manifest() == manifest
        await workspace.publish(Observer())
    assert read_manifest(tmp_path / "out") == manifest
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [PARTNERS.name, MANIFEST]


async def test_one_process_works_in_an_output(tmp_path: Path) -> None:
    async with open_workspace(request(tmp_path / "out")):
        with pytest.raises(DirectoryInUse):
            async with open_workspace(request(tmp_path / "out")):
                pass


async def test_another_identity_is_refused(tmp_path: Path) -> None:
    """The journal of an unfinished run belongs to the same request only; the message names what differs."""
    async with open_workspace(request(tmp_path / "out")) as workspace:
        store_pages(workspace.store, full_pages(5))
    changed = request(tmp_path / "out", identity={"version": "1", "page_size": 20})
    with pytest.raises(UsageError, match="--page-size 10, now 20"):
        async with open_workspace(changed):
            pass


async def test_a_finished_export_stays_without_overwrite(tmp_path: Path) -> None:
    async with open_workspace(request(tmp_path / "out")) as workspace:
        decide(workspace)
        await workspace.publish(Observer())
    with pytest.raises(UsageError, match="holds a finished export"):
        async with open_workspace(request(tmp_path / "out")):
            pass
    async with open_workspace(request(tmp_path / "out", overwrite=True)) as workspace:
        assert workspace.decided_manifest() is None


def test_an_interruption_says_what_is_kept() -> None:
    error = interrupted(Path("out"), kept="finished part")
    assert error.lines() == [
        "Interrupted.",
        "Every finished part is kept in out. The same command with this --output goes on from here.",
    ]
