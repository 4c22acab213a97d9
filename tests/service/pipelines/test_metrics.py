"""Numbers of the last run for monitoring: private, whole, and still there after a run that failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bulk_export.errors import BulkExportError
from bulk_export.output.metrics_file import Sample, metrics_text, write_failure, write_success
from bulk_export.pipelines.export import export
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.services.local import serving
from tests.support.copy_scene import NAME, scene
from tests.support.exporting import FREE, QUICK, TOKEN, options, settings


def numbers(path: Path) -> dict[str, float]:
    """The values of a file, each line of which has to be of the format."""
    found = {}
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"bulk_export_(\w+\{\w+=\"[^\"]*\"(?:,\w+=\"[^\"]*\")*\}) (\S+)", line)
            assert match is not None, line
            found[match[1]] = float(match[2])
    return found


async def test_success_then_failure(tmp_path: Path) -> None:
    """A success leaves its numbers, and a failure adds when it was and its exit code."""
    file = tmp_path / "run.prom"
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "one", "statements", metrics=file))
        first = numbers(file)
        assert first['last_records{command="export",endpoint="statements"}'] == 37
        assert first['last_incomplete{command="export"}'] == 0
        assert first['last_exit_code{command="export"}'] == 0
        assert first['last_requests{command="export"}'] > 1
        assert file.stat().st_mode & 0o777 == 0o600
        refused = options(service, tmp_path / "two", "statements", metrics=file, token="another")
        with pytest.raises(BulkExportError):
            await export(refused, tuning=QUICK)
    second = numbers(file)
    assert second['last_exit_code{command="export"}'] == 3
    assert second['last_failure_timestamp_seconds{command="export"}'] > 0
    assert {name: value for name, value in second.items() if "fail" not in name and "exit" not in name} == {
        name: value for name, value in first.items() if "fail" not in name and "exit" not in name
    }
    assert TOKEN not in file.read_text()


async def test_polls(tmp_path: Path) -> None:
    """A poll of a copy leaves its numbers as well."""
    async with scene(tmp_path, people=5) as it:
        chosen = SyncOptions.of(
            (NAME,), base_url=it.url, token=TOKEN, output=it.directory, metrics=tmp_path / "run.prom", **FREE
        )
        await sync_and_load(chosen, report=lambda _: None, loaded=lambda _: None)
    assert numbers(tmp_path / "run.prom")[f'last_records{{command="sync",endpoint="{NAME}"}}'] == 5


def test_file_of_something_else(tmp_path: Path) -> None:
    """What another program wrote is not taken for numbers of ours."""
    file = tmp_path / "run.prom"
    file.write_text("node_load1 5\n")
    write_failure(file, now=7.0, exit_code=4, command="export")
    assert "node_load1" not in file.read_text()


def test_labels_are_escaped(tmp_path: Path) -> None:
    """Whatever a label holds, a line stays a line."""
    write_success(tmp_path / "run.prom", [Sample("last_records", 1, {"endpoint": 'a"b\\c\nd'})], "export")
    assert 'endpoint="a\\"b\\\\c\\nd"} 1\n' in (tmp_path / "run.prom").read_text()
    assert metrics_text([]) == ""
