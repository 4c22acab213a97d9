"""What a load reads of an export in an object store is what the manifest says, or nothing is loaded."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest

from bulk_export.destinations.source import Source
from bulk_export.destinations.stored_source import open_stored_export
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.output.object_store.layout import object_key
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import stored_text
from bulk_export.output.object_store.url import parse_store_url
from tests.support.finished_exports import exported_table, write_export

obstore = pytest.importorskip("obstore.store")

TABLE = exported_table([{"id": str(number)} for number in range(10)])
SECOND = "statements/part-00001.parquet"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ObjectStore:
    """A store in memory, and a directory for temporary files that is empty."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return ObjectStore(parse_store_url("s3://bucket/x"), connected=obstore.MemoryStore())


def put(store: ObjectStore, key: str, content: bytes) -> str:
    """Write an object, whatever is there. Returns its ETag."""
    store.remove(key)
    store.create(key, content)
    status = store.status(key)
    assert status is not None
    return status.version


def upload(store: ObjectStore, directory: Path, table: pa.Table = TABLE, *, generation: int = 1) -> Path:
    """Write an export of two parts, and copy it into the store as an export there lies."""
    write_export(directory, {"statements": table}, parts=2)
    manifest = json.loads((directory / "manifest.json").read_bytes())
    etags = {}
    for part in sorted(directory.glob("*/*.parquet")):
        path = str(part.relative_to(directory))
        etags[path] = put(store, object_key(generation, path), part.read_bytes())
    put(store, "manifest.json", stored_text(manifest, generation, etags))
    return directory


def rows(source: Source) -> list[str]:
    """The ids of all rows."""
    return [identity for batch in source.tables["statements"].batches() for identity in batch.column("id").to_pylist()]


@pytest.mark.parametrize("generation", [1, 2])
def test_all_parts_are_read_in_order(store: ObjectStore, tmp_path: Path, generation: int) -> None:
    """The rows of all parts, in order, of the generation that the manifest names; nothing stays here."""
    upload(store, tmp_path / "export", generation=generation)
    source = open_stored_export(store)
    assert rows(source) == [str(number) for number in range(10)]
    assert source.tables["statements"].rows == 10
    assert source.tables["statements"].schema == TABLE.schema
    first = next(source.tables["statements"].batches(["id"]))
    assert first.schema.names == ["id"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_identity(store: ObjectStore, tmp_path: Path) -> None:
    """The id is the SHA-256 of the manifest as it is in the store."""
    upload(store, tmp_path / "export")
    found = store.read("manifest.json", most=1 << 20)
    assert found is not None
    assert open_stored_export(store).id == hashlib.sha256(found[0]).hexdigest()


def test_one_part_is_here_at_a_time(store: ObjectStore, tmp_path: Path) -> None:
    """A part is removed before the next one comes, and when its reader gives up."""
    upload(store, tmp_path / "export")
    batches = open_stored_export(store).tables["statements"].batches()
    for _ in range(2):
        next(batches)
        assert len(list((tmp_path / "temporary").rglob("*.parquet"))) == 1
    batches.close()  # type: ignore[attr-defined]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_wide_tables(store: ObjectStore, tmp_path: Path) -> None:
    """A footer that is larger than what is read at first is read whole."""
    table = exported_table([{"id": "1"}, {"id": "2"}], *(pa.field(f"column_{n}", pa.string()) for n in range(1500)))
    upload(store, tmp_path / "export", table)
    source = open_stored_export(store)
    assert source.tables["statements"].schema == table.schema
    assert rows(source) == ["1", "2"]


@pytest.mark.parametrize(
    ("change", "message"), [("missing", "missing"), ("shorter", "bytes instead of"), ("other", "sha256")]
)
def test_parts_that_are_not_as_described(store: ObjectStore, tmp_path: Path, change: str, message: str) -> None:
    """A part that is gone, shorter, or of other content is found before its rows are used."""
    content = bytearray((upload(store, tmp_path / "export") / SECOND).read_bytes())
    content[10] ^= 1
    if change == "missing":
        store.remove(SECOND)
    else:
        put(store, SECOND, bytes(content[:-1] if change == "shorter" else content))
    batches = open_stored_export(store).tables["statements"].batches()
    next(batches)
    with pytest.raises(DamagedState, match=message) as raised:
        next(batches)
    assert raised.value.kept == "Nothing was changed at the destination."
    assert list((tmp_path / "temporary").iterdir()) == []


def test_columns_are_checked(store: ObjectStore, tmp_path: Path) -> None:
    """Columns that were read off the end of an object count only if the whole part is as described."""
    directory = upload(store, tmp_path / "export")
    first = directory / "statements/part-00000.parquet"
    content = first.read_bytes()
    put(store, "statements/part-00000.parquet", content.replace(b"_extra", b"_other"))
    with pytest.raises(DamagedState, match="sha256"):
        rows(open_stored_export(store))


@pytest.mark.parametrize("end", [b"PAR2", b"\xff\xff\xff\x7fPAR1"])
def test_no_parquet(store: ObjectStore, tmp_path: Path, end: bytes) -> None:
    """A part without a footer, or with one that cannot be, is refused without reading more."""
    content = (upload(store, tmp_path / "export") / "statements/part-00000.parquet").read_bytes()
    put(store, "statements/part-00000.parquet", content[: -len(end)] + end)
    with pytest.raises(DamagedState, match="no Parquet file"):
        open_stored_export(store)


def test_object_that_does_not_end(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that sends more than it said is not read to its end."""
    upload(store, tmp_path / "export")
    source = open_stored_export(store)

    def endless(_: object, __: str) -> object:
        while True:
            yield b"x" * 1000

    monkeypatch.setattr(ObjectStore, "stream", endless)
    with pytest.raises(DamagedState, match="sha256"):
        rows(source)


def test_full_disk(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a directory for temporary files that can be written, nothing is read."""
    upload(store, tmp_path / "export")
    source = open_stored_export(store)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(LocalFailure):
        rows(source)


@pytest.mark.parametrize(
    ("key", "content", "error"),
    [("other", b"", DamagedState), ("manifest.json", b"{}", DamagedState), ("sync.json", b"{}", UsageError)],
)
def test_no_export(store: ObjectStore, key: str, content: bytes, error: type[Exception]) -> None:
    """An address without a finished export is refused."""
    put(store, key, content)
    with pytest.raises(error):
        open_stored_export(store)
