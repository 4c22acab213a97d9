"""Verifying: every difference between a manifest and its files is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState, VerificationFailed
from bulk_export.files import sha256_of
from bulk_export.journal import PartFile
from bulk_export.manifest import EndpointResult, RunCounters, build_manifest, manifest_text
from bulk_export.verification import verify


@pytest.fixture
def export(tmp_path: Path) -> Path:
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


def test_an_export_as_its_manifest_says_is_counted(export: Path) -> None:
    checked = verify(export)
    assert (checked.files, checked.rows, checked.bytes) == (2, 6, 66)


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
    "no files": (
        lambda path: edit_manifest(path, lambda it: it["endpoints"]["things"].update(files=[], records=0)),
        "names no file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_difference_is_found_and_named(export: Path, damage: str) -> None:
    inflict, said = DAMAGES[damage]
    inflict(export)
    with pytest.raises(VerificationFailed) as failed:
        verify(export)
    assert said in failed.value.what


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "{}", '{"tool":{"name":"other"},"endpoints":{}}', '{"tool":{"name":"bulk-export"}}']
)
def test_without_a_manifest_of_ours_there_is_nothing_to_check_against(export: Path, text: str | None) -> None:
    (export / "manifest.json").unlink()
    if text is not None:
        (export / "manifest.json").write_text(text)
    with pytest.raises(DamagedState):
        verify(export)


@pytest.mark.parametrize("path", ["../elsewhere", "/etc/passwd", "things/../../x", "things/deeper/x"])
def test_a_manifest_that_leads_elsewhere_is_refused(export: Path, path: str) -> None:
    edit_manifest(export, lambda it: it["endpoints"]["things"]["files"][0].update(path=path))
    with pytest.raises(DamagedState, match="outside"):
        verify(export)
