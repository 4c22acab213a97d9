"""What a load reads is what the manifest says, or nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.destinations.source import open_export
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from tests.support.finished_exports import exported_table, write_export

TABLE = exported_table([{"id": str(number)} for number in range(10)])


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export", {"statements": TABLE}, parts=2)


def read(directory: Path) -> list[str]:
    source = open_export(directory).tables["statements"]
    return [identity for batch in source.batches() for identity in batch.column("id").to_pylist()]


def test_all_parts_are_read_in_order(export: Path) -> None:
    """The rows of all parts, in order."""
    assert read(export) == [str(number) for number in range(10)]
    assert open_export(export).tables["statements"].rows == 10


def test_some_columns(export: Path) -> None:
    """A reader may ask for some columns."""
    (first, _) = open_export(export).tables["statements"].batches(["id"])
    assert first.schema.names == ["id"]


def test_content_that_differs(export: Path) -> None:
    """Another content of the same size is found before its rows are used."""
    part = export / "statements/part-00001.parquet"
    content = bytearray(part.read_bytes())
    content[10] ^= 1
    part.write_bytes(content)
    with pytest.raises(DamagedState, match="sha256"):
        read(export)


@pytest.mark.parametrize("change", ["missing", "shorter", "link", "linked folder"])
def test_files_that_are_not_as_described(export: Path, tmp_path: Path, change: str) -> None:
    """A missing or shorter part is refused, and so is one that a link leads to."""
    part = export / "statements/part-00001.parquet"
    if change == "missing":
        part.unlink()
    elif change == "shorter":
        part.write_bytes(part.read_bytes()[:-1])
    elif change == "link":
        part.rename(tmp_path / "elsewhere")
        part.symlink_to(tmp_path / "elsewhere")
    else:
        part.parent.rename(tmp_path / "folder")
        part.parent.symlink_to(tmp_path / "folder")
    with pytest.raises(LocalFailure):
        read(export)


def test_rows_that_the_manifest_does_not_count(export: Path) -> None:
    """A part with other rows than the manifest says is refused."""
    path = export / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["endpoints"]["statements"]["files"][0]["rows"] = 4
    path.write_text(json.dumps(manifest))
    with pytest.raises(DamagedState, match="5 rows instead of 4"):
        read(export)


def test_unfinished_export(tmp_path: Path) -> None:
    """An export without a manifest is refused with what to do."""
    (tmp_path / ".bulk-export").mkdir()
    with pytest.raises(UsageError, match="unfinished"):
        open_export(tmp_path)


def test_export_without_parquet(export: Path) -> None:
    """Only Parquet has the types."""
    path = export / "manifest.json"
    path.write_text(path.read_text().replace(".parquet", ".ndjson"))
    with pytest.raises(UsageError, match="no Parquet files"):
        open_export(export)


@pytest.mark.parametrize(
    ("parameters", "partial"),
    [({}, False), ({"filters": {"cohort": "2021"}}, True), ({"updated_since": "2026-01-01T00:00:00Z"}, True)],
)
def test_partial_exports(tmp_path: Path, parameters: dict[str, object], partial: bool) -> None:
    """An export that was filtered does not hold all records."""
    directory = write_export(tmp_path / "export", {"statements": TABLE}, **parameters)
    assert bool(open_export(directory).partial) is partial
