"""Verifying: every difference between a manifest and its files is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.core.files import sha256_of
from bulk_export.errors import DamagedState, LocalFailure, VerificationFailed
from bulk_export.extract.journal import PartFile
from bulk_export.output.manifest import EndpointResult, RunCounters, build_manifest, manifest_text
from bulk_export.output.verify import verify


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return make_export(tmp_path)


def make_export(tmp_path: Path) -> Path:
    folder = tmp_path / "things"
    folder.mkdir()
    files = []
    for number in range(2):
        path = folder / f"part-0000{number}.ndjson"
        path.write_text('{"id":"a"}\n' * 3)
        files.append(PartFile(f"things/{path.name}", 3, path.stat().st_size, sha256_of(path)))
    result = EndpointResult(
        name="things", records=6, pages=1, duplicates=0, requests=1, schema=[], drift={}, files=files
    )
    manifest = build_manifest(
        service="npq",
        api_version="v3",
        base_url="local",
        parameters={},
        started_at="",
        finished_at="",
        endpoints=[result],
        run=RunCounters(1, 0, 0, 0),
    )
    (tmp_path / "manifest.json").write_text(manifest_text(manifest))
    return tmp_path


def test_sound_export_is_counted(export: Path) -> None:
    checked = verify(export)
    assert (checked.files, checked.rows, checked.bytes) == (2, 6, 66)


def test_csv_with_line_ends_in_quotes_is_counted(tmp_path: Path) -> None:
    """A line end in a quoted cell ends no row, and a file without a part of its rows is a difference."""
    folder = tmp_path / "things"
    path = folder / "part-00000.csv"
    make_export(tmp_path)
    for old in folder.iterdir():
        old.unlink()
    for rows, expected in ((2, ""), (3, "2 rows instead of 3")):
        path.write_bytes(b'"id","name"\r\n"a","one\r\ntwo"\r\n"b",\r\n')
        file = {"path": "things/part-00000.csv", "rows": rows, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
        edit_manifest(tmp_path, lambda it, file=file: it["endpoints"]["things"].update(files=[file], records=2))
        if expected:
            with pytest.raises(VerificationFailed, match=expected):
                verify(tmp_path)
        else:
            assert verify(tmp_path).rows == 2


def edit_manifest(export: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]  # JSON
    manifest = json.loads((export / "manifest.json").read_text())
    change(manifest)
    (export / "manifest.json").write_text(json.dumps(manifest))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "deleted": (lambda path: (path / "things/part-00001.ndjson").unlink(), "part-00001.ndjson: missing"),
    "cut": (lambda path: (path / "things/part-00000.ndjson").write_text('{"id":"a"}\n'), "11 bytes instead of 33"),
    "changed": (lambda path: (path / "things/part-00000.ndjson").write_text('{"id":"b"}\n' * 3), "sha256"),
    "added": (
        lambda path: (path / "things/part-00009.ndjson").write_text(""),
        "part-00009.ndjson: not in",
    ),
    "unreadable": (lambda path: (path / "things/part-00000.ndjson").write_text("x" * 33), "unreadable"),
    "records": (
        lambda path: edit_manifest(path, lambda it: it["endpoints"]["things"].update(records=7)),
        "6 rows in ndjson files, 7 records",
    ),
    "in another directory": (
        lambda path: ((path / "other").mkdir(), (path / "other/part-00000.ndjson").write_text("")),
        "other/part-00000.ndjson: not in",
    ),
    "file elsewhere": (
        lambda path: (
            (path / "things/part-00001.ndjson").rename(path / "kept"),
            (path / "things/part-00001.ndjson").symlink_to(path / "kept"),
        ),
        "part-00001.ndjson: a symbolic link",
    ),
    "directory elsewhere": (
        lambda path: ((path / "things").rename(path / "kept"), (path / "things").symlink_to(path / "kept")),
        "part-00000.ndjson: a symbolic link",
    ),
    "file named twice": (
        lambda path: edit_manifest(
            path, lambda it: it["endpoints"]["things"]["files"].__setitem__(0, it["endpoints"]["things"]["files"][1])
        ),
        "names a file twice",
    ),
    "no files": (
        lambda path: edit_manifest(path, lambda it: it["endpoints"]["things"].update(files=[], records=0)),
        "names no file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_named(export: Path, damage: str) -> None:
    inflict, said = DAMAGES[damage]
    inflict(export)
    with pytest.raises(VerificationFailed) as failed:
        verify(export)
    assert said in failed.value.what


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"tool":{"name":"other"},"endpoints":{}}', '{"tool":{"name":"bulk-export"}}']
)
def test_manifest_is_required(export: Path, text: str) -> None:
    """What cannot be its manifest is damage, which running the export again would not mend."""
    (export / "manifest.json").write_text(text)
    with pytest.raises(DamagedState) as damaged:
        verify(export)
    assert "gain" not in damaged.value.next_step


@pytest.mark.parametrize(
    "path", ["things/a\0b", "things", "../elsewhere", "/etc/passwd", "things/../../x", "things/deeper/x"]
)
def test_manifest_outside_paths_are_refused(export: Path, path: str) -> None:
    """A manifest that names a file outside of the export is refused."""
    edit_manifest(export, lambda it: it["endpoints"]["things"]["files"][0].update(path=path))
    with pytest.raises(DamagedState, match="outside"):
        verify(export)


def test_list_of_differences_is_bounded(export: Path) -> None:
    for number in range(30):
        (export / f"things/part-9{number:04}.ndjson").write_text("")
    with pytest.raises(VerificationFailed) as failed:
        verify(export)
    assert failed.value.what.count("not in the manifest") == 20
    assert "and 10 more" in failed.value.what


def test_other_directories_are_ignored(export: Path) -> None:
    (export / "notes.txt").write_text("mine")
    (export / "analysis").mkdir()
    (export / "analysis/result.parquet").write_text("mine")
    assert verify(export).files == 2


@settings(deadline=None)
@given(st.integers(0, 8 * 33 - 1))
def test_any_flipped_bit_is_found(position: int) -> None:
    with TemporaryDirectory() as directory:
        whole = make_export(Path(directory))
        part = whole / "things/part-00000.ndjson"
        content = bytearray(part.read_bytes())
        content[position // 8] ^= 1 << position % 8
        part.write_bytes(content)
        with pytest.raises(VerificationFailed, match="sha256"):
            verify(whole)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=6,
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "path": st.sampled_from(["things/part-00000.ndjson", "things/x", "x", "/x/y", "n" * 300 + "/x"]) | JSON,
        "rows": st.just(3) | JSON,
        "bytes": st.just(33) | JSON,
        "sha256": JSON,
    },
)
ENDPOINTS = st.fixed_dictionaries({}, optional={"records": st.just(3) | JSON, "files": st.lists(FILES | JSON) | JSON})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["things", "..", "", "a/b", "\0"]) | st.text(), ENDPOINTS | JSON, max_size=3))
def test_any_manifest_is_checked_or_refused(endpoints: dict[str, object]) -> None:
    with TemporaryDirectory() as directory:
        whole = make_export(Path(directory))
        edit_manifest(whole, lambda it: it.update(endpoints=endpoints))
        try:
            checked = verify(whole)
        except (VerificationFailed, DamagedState, LocalFailure):
            return
        assert checked.files == 0 or "things" in endpoints


def test_file_browser_files_are_passed_over(export: Path) -> None:
    """What a file browser left is no difference, and is named."""
    left = ["things/.DS_Store", "things/Thumbs.db", "things/desktop.ini"]
    for path in left:
        (export / path).write_bytes(b"x")
    assert sorted(verify(export).passed_over) == sorted(left)
    (export / "things/desktop.ini").unlink()
    (export / "things/desktop.ini").symlink_to("part-00000.ndjson")
    with pytest.raises(VerificationFailed, match=r"desktop\.ini: not in the manifest"):
        verify(export)
