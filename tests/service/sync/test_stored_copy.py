"""`sync` with the address of an object store: machines that poll one copy in turn, on a store in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars
import pytest

from bulk_export.errors import DirectoryInUse, Interrupted, UsageError
from bulk_export.output.object_store.lease import LEASE, Lease, LeaseTimes
from bulk_export.output.object_store.reading import download
from bulk_export.pipelines.sync import stored_copy
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from tests.support.copy_scene import HOUR, NAME, Scene, person, scene
from tests.support.dying_store import ADDRESS, DyingStore, Killed
from tests.support.exporting import FREE, NPQ, TOKEN

obstore = pytest.importorskip("obstore.store")
# Takes long; with what is tested against stand-ins of stores.
pytestmark = [pytest.mark.anyio, pytest.mark.integration]

# Another machine need not wait for the lease of one that was killed.
AT_ONCE = LeaseTimes(expires=0, look=0)


class Machines:
    """Machines that keep the copy of a scene current, in turn."""

    def __init__(self, directory: Path, it: Scene, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.it = it
        self.patch = patch
        self.shared = obstore.MemoryStore()
        self.numbers = itertools.count()
        self.remarks: list[str] = []

    async def sync(self, machine: str, *, dies_at: int | None = None, **changes: Any) -> list[str]:
        """Poll once on a machine. Returns the kinds of polls."""
        self.patch.setenv("XDG_STATE_HOME", str(self.directory / machine))
        store = DyingStore(self.shared, dies_at)
        self.patch.setattr(stored_copy, "ObjectStore", lambda url, **_: store)
        arguments = {"service": NPQ, "base_url": self.it.url, "token": TOKEN, "output": ADDRESS, "retries": 0, **FREE}
        options = SyncOptions.of(NAME, **{**arguments, **changes})
        summary = await sync_once(options, clock=lambda: self.it.now, lease=AT_ONCE)
        self.remarks = summary.remarks
        return [poll.kind for poll in summary.polls]

    def rows(self, version: int | None = None) -> dict[str, str]:
        """The names in the store, by id, as a program reads them that knows Delta tables."""
        directory, store = self.directory / f"read-{next(self.numbers)}", DyingStore(self.shared)
        for found in list(store.list()):
            (directory / found.key).parent.mkdir(parents=True, exist_ok=True)
            download(store, found.key, directory / found.key)
        if not (directory / NAME / "_delta_log").exists():
            return {}
        table = polars.read_delta(str(directory / NAME), version=version)
        return dict(zip(table["id"], table["full_name"], strict=True))

    def rename(self, number: int, name: str) -> None:
        """Change a record of the service, an hour later."""
        self.it.now += HOUR
        self.it.records[NAME][number] = person(
            number, full_name=name, updated_at=self.it.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        )


def names_of(it: Scene) -> dict[str, str]:
    """The names that the service shows."""
    return {record["id"]: record["attributes"]["full_name"] for record in it.records[NAME]}


async def test_machines_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that takes over asks for changes only, and readers find every version."""
    async with scene(tmp_path, people=5) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        assert await machines.sync("a") == ["full"]
        first = names_of(it)
        assert machines.rows() == first
        for machine, name in [("a", "Ada"), ("b", "Bob"), ("a", "Cid")]:
            machines.rename(1, name)
            assert await machines.sync(machine) == ["changes"]
            assert machines.rows() == names_of(it)
        assert machines.rows(0) == first
        assert machines.rows(1)["p00001"] == "Ada"


@pytest.mark.parametrize("after", ["a", "b"])
async def test_killed_at_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """Wherever a poll is killed, a reader sees one version or the other, and the next poll mends the copy."""
    async with scene(tmp_path, people=3) as it:
        for step in itertools.count(1 if after == "a" else 4, 6):
            machines = Machines(tmp_path / str(step), it, monkeypatch)
            await machines.sync("a")
            before = names_of(it)
            machines.rename(1, f"Step {step}")
            try:
                await machines.sync("a", dies_at=step)
            except Killed:
                assert machines.rows() in (before, names_of(it))
                await machines.sync(after)
                assert machines.rows() == names_of(it)
            else:
                assert step > 20
                return


async def test_killed_in_the_first_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first sync that was lost is finished by another machine."""
    async with scene(tmp_path, people=3) as it:
        for step in (14, 20, 23):
            machines = Machines(tmp_path / str(step), it, monkeypatch)
            with pytest.raises(Killed):
                await machines.sync("a", dies_at=step)
            await machines.sync("b")
            assert machines.rows() == names_of(it)
            machines.rename(2, f"Step {step}")
            await machines.sync("a")
            assert machines.rows() == names_of(it)


async def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll is refused while another machine polls, and asks for nothing."""
    async with scene(tmp_path, people=3) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        await machines.sync("a")
        asked = len(it.asked)
        other = Lease(DyingStore(machines.shared), "other")
        assert other.take()
        take = Lease.take

        def renewed(self: Lease) -> bool:
            # It waits for the lease to expire, and the other machine renews it meanwhile.
            self._times = LeaseTimes()
            done = take(self)
            other.renew()
            return done

        monkeypatch.setattr(Lease, "take", renewed)
        with pytest.raises(DirectoryInUse, match="Another sync is under way"):
            await machines.sync("a")
        assert len(it.asked) == asked


async def test_lease_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that fails gives the lease back, so that another machine need not wait."""
    async with scene(tmp_path, people=3) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        await machines.sync("a")
        with pytest.raises(UsageError, match="other options"):
            await machines.sync("a", drop_column="full_name")
        found = DyingStore(machines.shared).read(LEASE, most=1000)
        assert found is not None
        assert b'"holder": ""' in found[0]


async def test_stopped_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal ends the wait for a lease."""
    import anyio

    async with scene(tmp_path, people=3) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        assert Lease(DyingStore(machines.shared), "other").take()
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a"))
        monkeypatch.setattr(stored_copy, "ObjectStore", lambda url, **_: DyingStore(machines.shared))
        stop = anyio.Event()
        stop.set()
        options = SyncOptions.of(NAME, service=NPQ, base_url=it.url, token=TOKEN, output=ADDRESS, **FREE)
        with pytest.raises(Interrupted):
            await sync_once(options, stop=stop, clock=lambda: it.now)


async def test_public_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new copy at an address that everybody can read is remarked on."""
    async with scene(tmp_path, people=1) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        monkeypatch.setattr(DyingStore, "is_public", lambda *_: True)
        await machines.sync("a")
        assert any("read by everybody" in remark for remark in machines.remarks)


async def test_vacuum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compaction and vacuum reach the store; what they remove here is removed there."""
    async with scene(tmp_path, people=3) as it:
        machines = Machines(tmp_path, it, monkeypatch)
        await machines.sync("a")
        for number in range(3):
            machines.rename(number, f"Name {number}")
            await machines.sync("a", compact=True, vacuum="7d")
        assert machines.rows() == names_of(it)


def test_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address has a working directory of its own; files without history are refused there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    given: dict[str, Any] = {"service": NPQ, "base_url": "http://127.0.0.1:1", "token": TOKEN}
    first, second = (SyncOptions.of(NAME, output=f"s3://bucket/{name}", **given) for name in "ab")
    assert first.output != second.output
    assert first.output.is_relative_to(tmp_path)
    assert str(first.remote) == "s3://bucket/a"
    with pytest.raises(UsageError, match="Delta tables"):
        SyncOptions.of(NAME, output=ADDRESS, format="parquet", **given)
    with pytest.raises(UsageError, match="begins with ftp"):
        SyncOptions.of(NAME, output="ftp://bucket/a", **given)
