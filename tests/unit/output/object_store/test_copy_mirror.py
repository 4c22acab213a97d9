"""The copy in a store is whole after every call, whatever is killed, lost or late."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bulk_export.errors import DamagedState, LocalFailure, StoreAccessDenied, UsageError
from bulk_export.output.object_store.copy_keys import Kind, kind_of_key, local_files
from bulk_export.output.object_store.copy_mirror import CopyMirror
from bulk_export.output.object_store.lease import LEASE
from bulk_export.output.object_store.reading import download
from tests.support.dying_store import DyingStore, Killed

# Takes long; with what is tested against stand-ins of stores.
pytestmark = pytest.mark.integration

obstore = pytest.importorskip("obstore.store")
deltalake = pytest.importorskip("deltalake")

NAME = "statements"
Change = Callable[[Path], None]


def merge(directory: Path, number: int, *, rows: int = 2) -> None:
    """What a poll does to the copy here."""
    table = pa.table({"id": [f"{number}-{row}" for row in range(rows)]})
    deltalake.write_deltalake(str(directory / NAME), table, mode="append")
    record(directory, number)


def record(directory: Path, number: int) -> None:
    """The state and the log after a poll."""
    (directory / "sync.json").write_text(json.dumps({"polls": number, "by": directory.name}))
    with (directory / "sync-log.jsonl").open("a") as log:
        log.write(f"{number}\n")


def maintain(directory: Path) -> None:
    """Put the files together, write a checkpoint, and end the history."""
    table = deltalake.DeltaTable(str(directory / NAME))
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)


class Machine:
    """A machine with a working directory."""

    def __init__(self, directory: Path) -> None:
        (directory / ".bulk-export").mkdir(parents=True)
        self.directory = directory

    def run(self, shared: Any, *changes: Change, dies_at: int | None = None) -> bool:
        """A sync: returns whether it took up the copy in the store."""
        mirror = self.mirror(shared, dies_at)
        is_taken_up = mirror.open()
        mirror.push()
        for change in changes:
            change(self.directory)
            mirror.push()
        return is_taken_up

    def mirror(self, shared: Any, dies_at: int | None = None) -> CopyMirror:
        return CopyMirror(DyingStore(shared, dies_at), self.directory, lambda: None)

    def content(self) -> dict[str, bytes]:
        """The copy here, as it should be in the store."""
        names = [*local_files(self.directory), "sync.json", "sync-log.jsonl"]
        return {name: (self.directory / name).read_bytes() for name in sorted(names)}

    def ids(self) -> set[str]:
        return ids(self.directory)


def ids(directory: Path) -> set[str]:
    """The records of the current version."""
    return set(deltalake.DeltaTable(str(directory / NAME)).to_pyarrow_table()["id"].to_pylist())


def content(shared: Any) -> dict[str, bytes]:
    """What is in the store, but for the lease."""
    store = DyingStore(shared)
    return {found.key: b"".join(store.stream(found.key)) for found in store.list() if found.key != LEASE}


class Reader:
    """Reads the copy in the store as other programs do."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()

    def ids(self, shared: Any) -> set[str]:
        """The records of the current version; none if there is no table yet."""
        directory, store = self._directory / str(next(self._numbers)), DyingStore(shared)
        for found in list(store.list()):
            (directory / found.key).parent.mkdir(parents=True, exist_ok=True)
            download(store, found.key, directory / found.key)
        return ids(directory) if (directory / NAME / "_delta_log/00000000000000000000.json").exists() else set()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "read")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machine]:
    return (Machine(tmp_path / f"machine-{number}") for number in itertools.count())


FIRST, BOTH = {"1-0", "1-1"}, {"1-0", "1-1", "2-0", "2-1"}


def merge_first(directory: Path) -> None:
    merge(directory, 1)


def merge_second(directory: Path) -> None:
    merge(directory, 2)


POLLS: dict[str, tuple[tuple[Change, ...], Change, list[set[str]]]] = {
    "first": ((), merge_first, [set(), FIRST]),
    "second": ((merge_first,), merge_second, [FIRST, BOTH]),
    "maintenance": ((merge_first, merge_second), maintain, [BOTH]),
}


def test_copy(machines: Iterator[Machine], reader: Reader) -> None:
    """What is in the store is what is here, after a vacuum as well; nothing is written if nothing changed."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    assert content(shared) == machine.content()
    machine.run(shared, merge_second, maintain)
    assert content(shared) == machine.content()
    assert reader.ids(shared) == BOTH
    assert not machine.run(shared, dies_at=9)
    assert any(kind_of_key(key) is Kind.CHECKPOINT for key in machine.content())


@pytest.mark.parametrize("poll", POLLS)
def test_killed_at_each_call(machines: Iterator[Machine], reader: Reader, poll: str) -> None:
    """A reader sees one version or the other, and the next run makes the store what an undisturbed one would."""
    before, change, expected = POLLS[poll]
    for step in itertools.count(1):
        shared, machine = obstore.MemoryStore(), next(machines)
        machine.run(shared, *before)
        try:
            machine.run(shared, change, dies_at=step)
        except Killed:
            assert reader.ids(shared) in expected
            had_changed = (machine.directory / NAME).exists() and machine.ids() == expected[-1]
            assert not machine.run(shared, *(() if had_changed else (change,)))
            assert content(shared) == machine.content()
            assert reader.ids(shared) == expected[-1]
        else:
            assert step > 10
            return


@pytest.mark.parametrize("poll", POLLS)
def test_lost_at_each_call(machines: Iterator[Machine], poll: str) -> None:
    """Another machine goes on from what is in the store, and the first one, if it comes back, from what that left."""
    before, change, expected = POLLS[poll]
    for step in itertools.count(1):
        shared, lost, other = obstore.MemoryStore(), next(machines), next(machines)
        lost.run(shared, *before)
        try:
            lost.run(shared, change, dies_at=step)
        except Killed:
            is_there = "sync.json" in content(shared)
            assert other.run(shared) is is_there
            if (other.directory / NAME / "_delta_log").exists():
                assert other.ids() in expected
            other.run(shared, lambda directory: merge(directory, 3))
            assert content(shared).items() >= other.content().items()
            assert lost.run(shared)
            assert lost.ids() == other.ids()
            lost.run(shared, lambda directory: merge(directory, 4))
            assert other.run(shared)
            assert other.ids() == lost.ids() > {"3-0", "4-0"}
        else:
            return


def test_lost_after_another_polled(machines: Iterator[Machine]) -> None:
    """A machine that knows the state in the store takes up the commits that a lost one wrote after it."""
    for step in itertools.count(1):
        shared, lost, other = obstore.MemoryStore(), next(machines), next(machines)
        lost.run(shared, merge_first)
        assert other.run(shared)
        try:
            lost.run(shared, merge_second, dies_at=step)
        except Killed:
            other.run(shared, lambda directory: merge(directory, 3))
            assert content(shared).items() >= other.content().items()
            assert lost.run(shared)
            assert lost.ids() == other.ids() > {"3-0"}
        else:
            return


def test_killed_while_taking_up(machines: Iterator[Machine]) -> None:
    """A machine that was killed while it took up the copy starts with that again."""
    shared, first = obstore.MemoryStore(), next(machines)
    first.run(shared, merge_first)
    first.run(shared, merge_second, maintain)
    for step in itertools.count(1):
        other = next(machines)
        try:
            assert other.run(shared, dies_at=step)
        except Killed:
            other.run(shared)
        assert other.content() == first.content() == content(shared)
        if step > 30:
            return


def test_late_machine(machines: Iterator[Machine], reader: Reader) -> None:
    """A machine that wakes up after another one took over is refused by the store, and takes up what is there."""
    shared, late, other = obstore.MemoryStore(), next(machines), next(machines)
    late.run(shared, merge_first)
    mirror = late.mirror(shared)
    mirror.open()
    other.run(shared, merge_second)
    merge(late.directory, 9)
    with pytest.raises(LocalFailure, match="at the same time"):
        mirror.push()
    assert reader.ids(shared) == BOTH
    assert late.run(shared)
    assert late.ids() == BOTH


def test_late_machine_without_changes(machines: Iterator[Machine]) -> None:
    """A poll that changed no table cannot put an older state in place of a newer one either."""
    shared, late, other = obstore.MemoryStore(), next(machines), next(machines)
    late.run(shared, merge_first)
    mirror = late.mirror(shared)
    mirror.open()
    other.run(shared, lambda directory: record(directory, 2))
    state = content(shared)["sync.json"]
    record(late.directory, 9)
    with pytest.raises(LocalFailure, match=r"sync\.json"):
        mirror.push()
    assert content(shared)["sync.json"] == state


def test_lease_is_asked_before_each_write(machines: Iterator[Machine]) -> None:
    """Without the lease nothing is written."""
    shared, machine = obstore.MemoryStore(), next(machines)

    def lost() -> None:
        raise LocalFailure("lost")

    merge(machine.directory, 1)
    with pytest.raises(LocalFailure, match="lost"):
        CopyMirror(DyingStore(shared), machine.directory, lost).push()
    assert content(shared) == {}


def test_no_right_to_remove(machines: Iterator[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    """What may not be removed stays and is reported, until it may be."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    machine.run(shared, merge_second)
    maintain(machine.directory)
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise StoreAccessDenied("no")

        patch.setattr(DyingStore, "remove", refuse)
        (remark,) = machine.mirror(shared).push()
    assert "may not be removed" in remark
    assert content(shared).keys() > machine.content().keys()
    assert machine.mirror(shared).push() == []
    assert content(shared) == machine.content()


@pytest.mark.parametrize(("key", "message"), [("manifest.json", "finished export"), ("other.txt", "no copy")])
def test_other_objects(machines: Iterator[Machine], key: str, message: str) -> None:
    """An address where something else is gets no copy."""
    shared, machine = obstore.MemoryStore(), next(machines)
    DyingStore(shared).create(key, b"{}")
    with pytest.raises(UsageError, match=message):
        machine.run(shared, merge_first)
    assert list(content(shared)) == [key]


def test_copy_that_is_gone(machines: Iterator[Machine]) -> None:
    """A copy that vanished from the store is not begun afresh in silence."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    DyingStore(shared).remove("sync.json")
    with pytest.raises(DamagedState, match="any more"):
        machine.run(shared)


def test_lost_working_directory(machines: Iterator[Machine]) -> None:
    """Without its notes a machine compares the states, and takes up the store's if they differ."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    (machine.directory / ".bulk-export/stored.json").write_text("{")
    assert not machine.run(shared)
    shutil.rmtree(machine.directory / NAME)
    (machine.directory / "sync.json").unlink()
    (machine.directory / ".bulk-export/stored.json").unlink()
    assert machine.run(shared)
    assert machine.content() == content(shared)


@pytest.mark.parametrize("name", ["sync.json", NAME])
def test_lost_part_of_the_working_directory(machines: Iterator[Machine], name: str) -> None:
    """What the copy here lost is taken up from the store, and not removed there."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    before = content(shared)
    path = machine.directory / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert machine.run(shared)
    assert content(shared) == before == machine.content()


def test_lost_data_file(machines: Iterator[Machine]) -> None:
    """A data file that is missing here, and needed, is not removed in the store."""
    shared, machine = obstore.MemoryStore(), next(machines)
    machine.run(shared, merge_first)
    before = content(shared)
    next((machine.directory / NAME).glob("*.parquet")).unlink()
    with pytest.raises(DamagedState, match="is missing"):
        machine.run(shared)
    assert content(shared) == before


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("a/part-00000-x-c000.zstd.parquet", Kind.DATA),
        ("a/_delta_log/00000000000000000000.json", Kind.COMMIT),
        ("a/_delta_log/00000000000000000000.checkpoint.parquet", Kind.CHECKPOINT),
        ("a/_delta_log/_last_checkpoint", Kind.POINTER),
        ("a/_delta_log/0.json", None),
        ("a/_delta_log/x.parquet", None),
        ("../part-0.parquet", None),
        ("a/../b.parquet", None),
        ("a/.hidden.parquet", None),
        (".bulk-export/x.parquet", None),
        ("sync.json", None),
    ],
)
def test_keys(key: str, kind: Kind | None) -> None:
    """Only the files of a table are mirrored, and only into its directory."""
    assert kind_of_key(key) is kind
