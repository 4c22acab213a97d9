"""Runs at one address, on a store in memory: who may finish, and what is removed afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DamagedState, StoreAccessDenied, StoreRefused, UsageError
from bulk_export.extract.journal import JournalStore
from bulk_export.output.manifest import TOOL
from bulk_export.output.object_store.failures import ObjectExists
from bulk_export.output.object_store.remote_publish import publish_manifest, remove_superseded
from bulk_export.output.object_store.remote_run import RemoteRun, begin_remote_run
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import read_stored_manifest
from bulk_export.output.object_store.upload import upload_file
from bulk_export.output.object_store.url import parse_store_url
from bulk_export.output.object_store.verify import verify_stored
from bulk_export.output.uploaded_parts import remember_upload

obstore = pytest.importorskip("obstore.store")

LINE = b'{"id":"1"}\n'


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty store in memory, which nobody else can read."""
    monkeypatch.setattr(ObjectStore, "is_public", lambda *_: False)
    return ObjectStore(parse_store_url("s3://bucket/x"), connected=obstore.MemoryStore())


class Machine:
    """One machine that exports to the address, with a journal of its own."""

    def __init__(self, directory: Path, store: ObjectStore) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.store = store
        self.journal = JournalStore(directory / "journal.sqlite", cap=1000)
        self.warnings: list[str] = []

    def begin(self, *, overwrite: bool = False) -> RemoteRun:
        """Claim a generation."""
        start = begin_remote_run(self.store, self.journal, ["statements"], overwrite=overwrite)
        self.warnings += start.warnings
        return start.run

    def upload(self, run: RemoteRun, names: list[str]) -> dict[str, Any]:
        """Upload parts, and return the manifest that names them."""
        files = []
        for name in names:
            local = self.directory / name
            local.write_bytes(LINE)
            path = f"statements/{name}"
            uploaded = upload_file(self.store, run.key(path), local)
            remember_upload(self.journal, path, uploaded)
            files.append({"path": path, "rows": 1, "bytes": uploaded.bytes, "sha256": uploaded.sha256})
        return manifest(files)

    def finish(self, run: RemoteRun, described: dict[str, Any]) -> list[str]:
        """Publish, and return the warnings."""
        publish_manifest(self.store, self.journal, run, described, str(self.directory))
        return remove_superseded(self.store, self.journal, run, described)


def manifest(files: list[dict[str, Any]]) -> dict[str, Any]:
    """A manifest of one endpoint."""
    return {"tool": {"name": TOOL}, "endpoints": {"statements": {"records": len(files), "files": files}}}


@contextmanager
def machine(directory: Path, store: ObjectStore) -> Iterator[Machine]:
    """A machine, whose journal is closed at the end."""
    one = Machine(directory, store)
    try:
        yield one
    finally:
        one.journal.close()


def keys(store: ObjectStore) -> list[str]:
    """All keys."""
    return sorted(stored.key for stored in store.list())


PARTS = ["part-00000.ndjson", "part-00001.ndjson"]


def test_first_export(store: ObjectStore, tmp_path: Path) -> None:
    """The first export has plain keys; the claim is gone at the end, and everything is verified."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        assert keys(store) == [".bulk-export/generation-1.json"]
        assert one.finish(run, one.upload(run, PARTS)) == []
    assert keys(store) == ["manifest.json", "statements/part-00000.ndjson", "statements/part-00001.ndjson"]
    assert verify_stored(store, quick=False).rows == 2
    assert verify_stored(store, quick=True).files == 2


def test_beginning_again_is_the_same_run(store: ObjectStore, tmp_path: Path) -> None:
    """An interrupted run keeps its generation, also if it was killed before it recorded it."""
    with machine(tmp_path / "a", store) as one:
        first = one.begin()
        assert one.begin() == first
        RemoteRun(first.url, first.run, first.started_at).store_in(one.journal)
        assert one.begin() == first
    assert keys(store) == [".bulk-export/generation-1.json"]


def test_two_machines(store: ObjectStore, tmp_path: Path) -> None:
    """Both write to generations of their own; the first to end has finished, and the second one changes nothing."""
    with machine(tmp_path / "a", store) as one, machine(tmp_path / "b", store) as other:
        mine, theirs = one.begin(), other.begin()
        assert (mine.generation, theirs.generation) == (1, 2)
        assert one.warnings == []
        assert len(other.warnings) == 1
        assert "is not finished" in other.warnings[0]
        one_manifest, other_manifest = one.upload(mine, PARTS), other.upload(theirs, PARTS[:1])
        other.finish(theirs, other_manifest)
        before = keys(store)
        with pytest.raises(UsageError, match="Another run finished its export to s3://bucket/x first"):
            one.finish(mine, one_manifest)
        assert keys(store) == before == ["generation-2/statements/part-00000.ndjson", "manifest.json"]
        # The pages are still there, so an overwriting run has to convert only.
        assert one.journal.facts() == {}
        with pytest.raises(UsageError, match="holds a finished export"):
            one.begin()
        again = one.begin(overwrite=True)
        assert again.generation == 3
        one.finish(again, one.upload(again, PARTS))
    assert keys(store) == [
        "generation-3/statements/part-00000.ndjson",
        "generation-3/statements/part-00001.ndjson",
        "manifest.json",
    ]


def test_slow_loser_of_a_higher_generation_keeps_its_number(store: ObjectStore, tmp_path: Path) -> None:
    """A generation that a run may still write to is never given to another one, so its claim stays."""
    with machine(tmp_path / "a", store) as one, machine(tmp_path / "b", store) as slow:
        mine, theirs = one.begin(), slow.begin()
        one.finish(mine, one.upload(mine, PARTS))
        assert ".bulk-export/generation-2.json" in keys(store)
        slow.upload(theirs, PARTS)
        with machine(tmp_path / "c", store) as third:
            run = third.begin(overwrite=True)
            assert run.generation == 3
            third.finish(run, third.upload(run, PARTS))
    assert [key for key in keys(store) if "generation-2" in key] == []
    assert verify_stored(store, quick=False).files == 2


def test_overwriting_keeps_the_old_export_until_the_end(store: ObjectStore, tmp_path: Path) -> None:
    """Until the manifest changes, the earlier export can be read; afterwards only the new one is there."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    with machine(tmp_path / "b", store) as other:
        with pytest.raises(UsageError, match="holds a finished export"):
            other.begin()
        assert len(keys(store)) == 3
        run = other.begin(overwrite=True)
        described = other.upload(run, PARTS[:1])
        assert verify_stored(store, quick=False).files == 2
        other.finish(run, described)
    assert keys(store) == ["generation-2/statements/part-00000.ndjson", "manifest.json"]
    assert verify_stored(store, quick=False).files == 1


def test_two_machines_overwrite(store: ObjectStore, tmp_path: Path) -> None:
    """The manifest is replaced only if it is the one that was read at the start."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    with machine(tmp_path / "b", store) as one, machine(tmp_path / "c", store) as other:
        mine, theirs = one.begin(overwrite=True), other.begin(overwrite=True)
        one_manifest, other_manifest = one.upload(mine, PARTS), other.upload(theirs, PARTS)
        one.finish(mine, one_manifest)
        with pytest.raises(UsageError, match="Another run finished"):
            other.finish(theirs, other_manifest)
    stored = read_stored_manifest(store)
    assert stored is not None
    assert stored.generation == 2
    assert verify_stored(store, quick=False).files == 2


def test_lost_machine(store: ObjectStore, tmp_path: Path) -> None:
    """What a run left whose machine is gone keeps nobody from the address, and is removed by the next one."""
    with machine(tmp_path / "lost", store) as lost:
        lost.upload(lost.begin(), PARTS)
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        assert run.generation == 2
        one.finish(run, one.upload(run, PARTS[:1]))
    assert keys(store) == ["generation-2/statements/part-00000.ndjson", "manifest.json"]


def test_removal_that_was_cut_short(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim tells what its run replaces, so a later run removes what an earlier one did not get to."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    with machine(tmp_path / "b", store) as lost:
        run = lost.begin(overwrite=True)
        described = lost.upload(run, PARTS[:1])
        publish_manifest(store, lost.journal, run, described, "")
    assert "statements/part-00001.ndjson" in keys(store)
    with machine(tmp_path / "c", store) as third:
        run = third.begin(overwrite=True)
        third.finish(run, third.upload(run, PARTS[:1]))
    assert keys(store) == ["generation-3/statements/part-00000.ndjson", "manifest.json"]


def test_objects_of_others_stay(store: ObjectStore, tmp_path: Path) -> None:
    """What is not of an export keeps a first one away, and is never removed by one that replaces another."""
    store.create("statements/part-00000.ndjson", b"of the user")
    with machine(tmp_path / "a", store) as one, pytest.raises(UsageError, match="objects that are not an export"):
        one.begin()
    store.remove("statements/part-00000.ndjson")
    with machine(tmp_path / "b", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    for key in ("notes.txt", "statements/notes.txt", "others/part-00000.ndjson"):
        store.create(key, b"of the user")
    with machine(tmp_path / "c", store) as one:
        run = one.begin(overwrite=True)
        one.finish(run, one.upload(run, PARTS[:1]))
    assert [key for key in keys(store) if not key.startswith("generation-3")] == [
        "generation-2/statements/part-00000.ndjson",
        "manifest.json",
        "notes.txt",
        "others/part-00000.ndjson",
        "statements/notes.txt",
    ]


def test_manifest_of_others_is_not_replaced(store: ObjectStore, tmp_path: Path) -> None:
    """Another tool's manifest.json is not ours to overwrite."""
    store.create("manifest.json", b"{}")
    with machine(tmp_path / "a", store) as one, pytest.raises(DamagedState, match="not written by this tool"):
        one.begin(overwrite=True)


def test_part_that_somebody_changed(store: ObjectStore, tmp_path: Path) -> None:
    """A part that is not as it was uploaded keeps the manifest from being written; the pages are converted again."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        described = one.upload(run, PARTS)
        store.remove("statements/part-00001.ndjson")
        with pytest.raises(DamagedState, match=r"part-00001.ndjson in s3://bucket/x was removed by somebody else"):
            one.finish(run, described)
        assert "manifest.json" not in keys(store)
        run = one.begin()
        assert run.generation == 2
        one.finish(run, one.upload(run, PARTS))
    assert verify_stored(store, quick=False).files == 2
    assert len(keys(store)) == 3


def test_manifest_whose_answer_was_lost(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that is there already, because a request was sent twice, is ours if its content is."""
    create = ObjectStore.create

    def twice(self: ObjectStore, key: str, content: bytes) -> None:
        create(self, key, content)
        if key == "manifest.json":
            raise ObjectExists

    monkeypatch.setattr(ObjectStore, "create", twice)
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        assert one.finish(run, one.upload(run, PARTS)) == []
    assert verify_stored(store, quick=False).files == 2


@pytest.mark.parametrize("ignored", ["create", "replace"])
def test_store_that_ignores_conditions(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    """A store that writes regardless of what is there is refused before any record is written."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    with machine(tmp_path / "b", store) as one, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, ignored, lambda *_: None)
        with pytest.raises(StoreRefused, match="although it was told not to"):
            one.begin(overwrite=True)
    assert verify_stored(store, quick=False).files == 2


def test_who_may_not_list_is_denied_what_is_not_there(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers 403 in place of 404 then: a first export is made all the same, and a lost part is noticed."""
    known = ObjectStore.read, ObjectStore.status

    def read(self: ObjectStore, key: str, *, most: int) -> Any:
        return denied(known[0](self, key, most=most))

    def status(self: ObjectStore, key: str) -> Any:
        return denied(known[1](self, key))

    def denied(found: Any = None, *_: Any) -> Any:
        if found is None or isinstance(found, ObjectStore):
            raise StoreAccessDenied("Denied.")
        return found

    with pytest.MonkeyPatch.context() as patch, machine(tmp_path / "a", store) as one:
        patch.setattr(ObjectStore, "read", read)
        patch.setattr(ObjectStore, "status", status)
        patch.setattr(ObjectStore, "list", denied)
        run = one.begin()
        described = one.upload(run, PARTS)
        store.remove("statements/part-00001.ndjson")
        with pytest.raises(DamagedState, match="was removed by somebody else"):
            one.finish(run, described)
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    assert verify_stored(store, quick=False).files == 2


def test_who_may_not_read_writes_nothing(store: ObjectStore, tmp_path: Path) -> None:
    """A finished export may be there, whose parts must not be written over."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))

    def deny(*_: Any, **__: Any) -> Any:
        raise StoreAccessDenied("Denied.")

    with machine(tmp_path / "b", store) as one, pytest.MonkeyPatch.context() as patch:
        for name in ("read", "status", "list"):
            patch.setattr(ObjectStore, name, deny)
        with pytest.raises(StoreAccessDenied):
            one.begin()
        with pytest.raises(StoreAccessDenied):
            one.begin()
    assert verify_stored(store, quick=False).files == 2


@pytest.mark.parametrize("denied", [("list",), ("remove",), ("list", "remove")])
def test_few_permissions(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: tuple[str, ...]
) -> None:
    """An export needs to write only; what it may not look for or remove, it says."""

    def deny(*_: Any, **__: Any) -> Any:
        raise StoreAccessDenied("Denied.")

    with pytest.MonkeyPatch.context() as patch:
        for name in denied:
            patch.setattr(ObjectStore, name, deny)
        with machine(tmp_path / "a", store) as one:
            run = one.begin()
            warnings = one.finish(run, one.upload(run, PARTS))
    assert warnings
    assert verify_stored(store, quick=False).files == 2


def test_denial_is_no_sign_of_a_lost_part(store: ObjectStore, tmp_path: Path) -> None:
    """Credentials that stop working before the end are reported as that, and nothing has to be made anew."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        described = one.upload(run, PARTS)

        def deny(*_: Any, **__: Any) -> Any:
            raise StoreAccessDenied("Denied.")

        with pytest.MonkeyPatch.context() as patch:
            for name in ("read", "status"):
                patch.setattr(ObjectStore, name, deny)
            with pytest.raises(StoreAccessDenied):
                one.finish(run, described)
        assert one.finish(run, described) == []
    assert verify_stored(store, quick=False).files == 2


def test_loser_removes_what_it_uploaded(store: ObjectStore, tmp_path: Path) -> None:
    """What only the loser wrote, it removes again; the winner's export is untouched."""
    with machine(tmp_path / "a", store) as one, machine(tmp_path / "b", store) as other:
        mine, theirs = one.begin(), other.begin()
        one_manifest, other_manifest = one.upload(mine, PARTS[:1]), other.upload(theirs, PARTS)
        one.finish(mine, one_manifest)
        with pytest.raises(UsageError, match="Another run finished"):
            other.finish(theirs, other_manifest)
    assert keys(store) == ["manifest.json", "statements/part-00000.ndjson"]


def test_public_address(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that can be read without credentials is reported before records are written."""
    monkeypatch.setattr(ObjectStore, "is_public", lambda *_: True)
    with machine(tmp_path / "a", store) as one:
        one.begin()
        assert len(one.warnings) == 1
        assert "can be read by everybody" in one.warnings[0]
        one.begin()
        assert len(one.warnings) == 1
    assert keys(store) == [".bulk-export/generation-1.json"]


def test_run_that_lost_while_it_rested(store: ObjectStore, tmp_path: Path) -> None:
    """A run that goes on after another one has finished is told at once, unless its own manifest is the one there."""
    with machine(tmp_path / "a", store) as one, machine(tmp_path / "b", store) as other:
        one.begin()
        theirs = other.begin()
        other.finish(theirs, other.upload(theirs, PARTS))
        with pytest.raises(UsageError, match="Another run finished"):
            one.begin()
        assert one.begin(overwrite=True).generation == 3


def test_unfinished_is_not_verified(store: ObjectStore, tmp_path: Path) -> None:
    """Without a manifest there is no export."""
    with machine(tmp_path / "a", store) as one:
        one.upload(one.begin(), PARTS)
    with pytest.raises(DamagedState, match="no finished export"):
        verify_stored(store, quick=True)


def test_differences_are_named(store: ObjectStore, tmp_path: Path) -> None:
    """Each object that differs is named, as is a part that the manifest does not name."""
    with machine(tmp_path / "a", store) as one:
        run = one.begin()
        one.finish(run, one.upload(run, PARTS))
    store.remove("statements/part-00000.ndjson")
    store.create("statements/part-00000.ndjson", LINE.replace(b"1", b"2"))
    store.remove("statements/part-00001.ndjson")
    store.create("statements/part-00002.ndjson", LINE)
    for quick, expected in [(True, "written anew"), (False, "written anew")]:
        with pytest.raises(Exception, match=r"statements/part-00001.ndjson: missing") as raised:
            verify_stored(store, quick=quick)
        assert f"statements/part-00000.ndjson: {expected}" in str(raised.value)
        assert "statements/part-00002.ndjson: not in the manifest" in str(raised.value)


def test_content_is_compared(store: ObjectStore, tmp_path: Path) -> None:
    """Without an ETag in the manifest, reading finds what a size does not show."""
    digest = hashlib.sha256(LINE).hexdigest()
    file = {"path": "statements/part-00000.ndjson", "rows": 1, "bytes": len(LINE), "sha256": digest}
    store.create("manifest.json", json.dumps(manifest([file])).encode())
    store.create("statements/part-00000.ndjson", LINE.replace(b"1", b"2"))
    verify_stored(store, quick=True)
    with pytest.raises(Exception, match="other content"):
        verify_stored(store, quick=False)
