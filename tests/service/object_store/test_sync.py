"""`sync` with the address of an object store, on the stand-ins."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars
import pytest

from bulk_export.errors import StoreRefused
from bulk_export.output.object_store.lease import LeaseTimes
from bulk_export.output.object_store.reading import download
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from tests.support.command import FAST, run
from tests.support.copy_scene import HOUR, NAME, Scene, person, scene
from tests.support.exporting import FREE, NPQ, TOKEN
from tests.support.small_service import SmallService
from tests.support.store_proxy import error
from tests.support.store_scene import Lake

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

# Another machine need not wait for the lease of one that was killed.
AT_ONCE = LeaseTimes(expires=0, look=0)


async def sync(it: Scene, address: str, state: Path) -> None:
    """Poll once on a machine with this directory for state."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        options = SyncOptions.of(NAME, service=NPQ, base_url=it.url, token=TOKEN, output=address, retries=0, **FREE)
    await sync_once(options, clock=lambda: it.now, lease=AT_ONCE)


def read(lake: Lake, address: str, directory: Path) -> dict[str, str]:
    """The names in the store, by id, as a program reads them that knows Delta tables."""
    store = lake.store(address)
    for found in list(store.list()):
        (directory / found.key).parent.mkdir(parents=True, exist_ok=True)
        download(store, found.key, directory / found.key)
    table = polars.read_delta(str(directory / NAME))
    return dict(zip(table["id"], table["full_name"], strict=True))


def names_of(it: Scene) -> dict[str, str]:
    """The names that the service shows."""
    return {record["id"]: record["attributes"]["full_name"] for record in it.records[NAME]}


@pytest.mark.anyio
async def test_refused_at_each_call(lake: Lake, tmp_path: Path) -> None:
    """Wherever credentials expire in a poll, a reader sees one version or the other, and another machine goes on."""
    async with scene(tmp_path, people=3) as it:
        address, machines = lake.new_address(), itertools.cycle("ab")
        lake.proxy.reset()
        await sync(it, address, tmp_path / "b")
        for allowed in itertools.count(1, 6):
            before = names_of(it)
            it.now += HOUR
            changed = it.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            it.records[NAME][1] = person(1, full_name=f"After {allowed}", updated_at=changed)
            calls = itertools.count()

            def refuse(_: Any, calls: Any = calls, allowed: int = allowed) -> bytes | None:
                return error(403, "ExpiredToken") if next(calls) >= allowed else None

            machine = next(machines)
            lake.proxy.reset(refuse)
            try:
                await sync(it, address, tmp_path / machine)
            except StoreRefused:
                lake.proxy.reset()
                assert read(lake, address, tmp_path / f"torn-{allowed}") in (before, names_of(it))
                await sync(it, address, tmp_path / next(machines))
            lake.proxy.reset()
            assert read(lake, address, tmp_path / f"whole-{allowed}") == names_of(it)
            if next(calls) <= allowed:
                break


def test_command(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """The command keeps a copy in a store, and a copy that is there is no export."""
    address = lake.new_address()
    arguments = ["sync", NAME, "--base-url", service.base_url, "--output", address, *FAST, "--budget", "memory://"]
    for machine in ("a", "b"):
        done = run(*arguments, cwd=tmp_path, XDG_STATE_HOME=str(tmp_path / machine), **lake.environment)
        assert done.returncode == 0, done.stderr
        assert "poll " in done.stdout
    assert {"sync.json", "sync-log.jsonl"} <= set(lake.keys(address))
    refused = run("verify", address, cwd=tmp_path, **lake.environment)
    assert refused.returncode == 2
    assert "copy that sync keeps" in refused.stderr
